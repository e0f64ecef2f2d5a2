# One region in an existing network: where a set begins. The others join it later, each with its own apply.

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
  region = var.aws_region
}

module "set" {
  source = "../../modules/region-set"

  set = {
    name         = "shop"
    generation   = 1
    trust_domain = "example.org"
    buckets = {
      "*"      = { max_value = "256KiB", unknown = "refuse" }
      sessions = { ttl = "12h" }
      carts    = {}
    }
  }
  regions        = { (var.region) = { cidr = var.network.cidr } }
  gateway_domain = var.gateway_domain
}

module "region" {
  source = "../../modules/region-aws"

  region           = var.region
  set_yaml         = module.set.set_yaml
  peers            = {}
  existing_network = var.network
  gateway_exposure = "private"
  gateway_name     = module.set.regions[var.region].gateway_name

  ami        = var.ami
  artifacts  = var.artifacts
  secrets    = var.secrets
  trust      = var.trust
  nats_nkeys = var.nats_nkeys

  clients        = var.clients
  client_cidrs   = [var.network.cidr]
  operator_cidrs = [var.network.cidr]
}
