# Three regions of one set, each in an AWS region and a network of its own. What differs between them is in var.regions;
# a provider can't be made by for_each, so each region has its provider and its module here.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 6.0"
    }
  }
}

provider "aws" {
  alias  = "eu_west"
  region = var.regions["eu-west"].aws_region
}

provider "aws" {
  alias  = "eu_central"
  region = var.regions["eu-central"].aws_region
}

provider "aws" {
  alias  = "us_east"
  region = var.regions["us-east"].aws_region
}

module "set" {
  source = "../../modules/region-set"

  set            = var.set
  regions        = var.regions
  gateway_domain = var.gateway_domain
}

locals {
  # What each region shares with the others: the addresses it dials from and listens on.
  peer = {
    eu-west    = module.eu_west.peer
    eu-central = module.eu_central.peer
    us-east    = module.us_east.peer
  }
}

module "eu_west" {
  source    = "../../modules/region-aws"
  providers = { aws = aws.eu_west }

  region          = "eu-west"
  set_yaml        = module.set.set_yaml
  peers           = { for name in module.set.regions["eu-west"].peers : name => local.peer[name] }
  new_network     = { cidr = var.regions["eu-west"].cidr, zones = var.regions["eu-west"].zones }
  gateway_name    = module.set.regions["eu-west"].gateway_name
  gateway_zone_id = var.gateway_zone_id
  link_port       = module.set.regions["eu-west"].gateway_port
  ami             = var.regions["eu-west"].ami
  artifacts       = var.regions["eu-west"].artifacts
  secrets         = var.regions["eu-west"].secrets
  trust           = var.regions["eu-west"].trust_arns
  nats_nkeys      = var.regions["eu-west"].nats_nkeys
  nats            = var.regions["eu-west"].nats
  clients         = var.clients
  client_cidrs    = concat([var.regions["eu-west"].cidr], var.regions["eu-west"].client_cidrs)
  operator_cidrs  = var.regions["eu-west"].operator_cidrs
  collector       = var.collector
  tags            = var.tags

  deletion_protection = var.deletion_protection
}

module "eu_central" {
  source    = "../../modules/region-aws"
  providers = { aws = aws.eu_central }

  region          = "eu-central"
  set_yaml        = module.set.set_yaml
  peers           = { for name in module.set.regions["eu-central"].peers : name => local.peer[name] }
  new_network     = { cidr = var.regions["eu-central"].cidr, zones = var.regions["eu-central"].zones }
  gateway_name    = module.set.regions["eu-central"].gateway_name
  gateway_zone_id = var.gateway_zone_id
  link_port       = module.set.regions["eu-central"].gateway_port
  ami             = var.regions["eu-central"].ami
  artifacts       = var.regions["eu-central"].artifacts
  secrets         = var.regions["eu-central"].secrets
  trust           = var.regions["eu-central"].trust_arns
  nats_nkeys      = var.regions["eu-central"].nats_nkeys
  nats            = var.regions["eu-central"].nats
  clients         = var.clients
  client_cidrs    = concat([var.regions["eu-central"].cidr], var.regions["eu-central"].client_cidrs)
  operator_cidrs  = var.regions["eu-central"].operator_cidrs
  collector       = var.collector
  tags            = var.tags

  deletion_protection = var.deletion_protection
}

module "us_east" {
  source    = "../../modules/region-aws"
  providers = { aws = aws.us_east }

  region          = "us-east"
  set_yaml        = module.set.set_yaml
  peers           = { for name in module.set.regions["us-east"].peers : name => local.peer[name] }
  new_network     = { cidr = var.regions["us-east"].cidr, zones = var.regions["us-east"].zones }
  gateway_name    = module.set.regions["us-east"].gateway_name
  gateway_zone_id = var.gateway_zone_id
  link_port       = module.set.regions["us-east"].gateway_port
  ami             = var.regions["us-east"].ami
  artifacts       = var.regions["us-east"].artifacts
  secrets         = var.regions["us-east"].secrets
  trust           = var.regions["us-east"].trust_arns
  nats_nkeys      = var.regions["us-east"].nats_nkeys
  nats            = var.regions["us-east"].nats
  clients         = var.clients
  client_cidrs    = concat([var.regions["us-east"].cidr], var.regions["us-east"].client_cidrs)
  operator_cidrs  = var.regions["us-east"].operator_cidrs
  collector       = var.collector
  tags            = var.tags

  deletion_protection = var.deletion_protection
}
