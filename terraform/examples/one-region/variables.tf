variable "aws_region" {
  description = "The AWS region."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.aws_region))
    error_message = "aws_region is a name such as eu-west-1."
  }
}

variable "region" {
  description = "The region's name in the set."
  type        = string
  default     = "eu-west"

  validation {
    condition     = can(regex("^[a-z0-9-]{1,32}$", var.region))
    error_message = "The name of a region is 1 to 32 of the characters a-z, 0-9 and -."
  }
}

variable "gateway_domain" {
  description = "A domain that you own: the gateways are found at gw.<region>.<gateway_domain>."
  type        = string
}

variable "network" {
  description = "The network: three private subnets by zone."
  type = object({
    vpc_id  = string
    cidr    = string
    subnets = map(object({ private = string }))
  })
}

variable "ami" {
  description = "The image of the instances."
  type        = string
}

variable "artifacts" {
  description = "The archives: see the module region-aws."
  type = object({
    bucket  = string
    isthmus = object({ key = string, sha256 = string })
    nats    = object({ key = string, sha256 = string })
  })
}

variable "secrets" {
  description = "The ARNs of the region's secrets: see the module region-aws."
  type = object({
    agent = object({
      nats_seed               = string
      door_certificate        = string
      door_key                = string
      door_client_authorities = optional(string)
      door_clients_revoked    = optional(string)
    })
    gateway = object({ nats_seed = string, certificate = string, key = string, revoked = optional(string) })
    nats    = object({ certificate = string, key = string, authority = string })
  })
}

variable "trust" {
  description = "The ARN of each region's CAs."
  type        = map(string)
}

variable "nats_nkeys" {
  description = "The public nkeys of the users in NATS."
  type        = object({ operator = string, agent = string, gateway = string, system = string })
}

variable "clients" {
  description = "The applications that may use the door."
  type = map(object({
    tokens = list(string)
    read   = optional(list(string), [])
    write  = optional(list(string), [])
  }))
}
