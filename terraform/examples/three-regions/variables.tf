variable "set" {
  description = "What the regions share beside their list: see the module region-set."
  type        = any

  validation {
    condition     = can(var.set.name) && can(var.set.generation)
    error_message = "A set has a name and a generation."
  }
}

variable "regions" {
  description = <<-TEXT
    The three regions: where each one is, its addresses, its image, archives and secrets. Keys that the module region-set
    knows (cidr, gateway_port, trust, identity) go into set.yaml, all others are for the module region-aws.
  TEXT
  type = map(object({
    aws_region   = string
    zones        = list(string)
    cidr         = string
    gateway_port = optional(number, 7443)
    trust        = optional(string)
    identity     = optional(string)
    ami          = string
    artifacts = object({
      bucket      = string
      isthmus     = object({ key = string, sha256 = string })
      nats        = object({ key = string, sha256 = string })
      collector   = optional(object({ key = string, sha256 = string }))
      kms_key_arn = optional(string)
    })
    secrets = object({
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
    trust_arns = map(string)
    nats_nkeys = object({ operator = string, agent = string, gateway = string, system = string })
    nats = optional(object({
      instance_type  = optional(string)
      volume_gib     = optional(number)
      final_snapshot = optional(bool)
    }), {})
    client_cidrs   = optional(list(string), [])
    operator_cidrs = optional(list(string), [])
  }))

  validation {
    condition     = toset(keys(var.regions)) == toset(["eu-west", "eu-central", "us-east"])
    error_message = "This example wires eu-west, eu-central and us-east: another region needs another provider and another module in main.tf."
  }
  validation {
    condition     = length(distinct([for region in values(var.regions) : region.aws_region])) == 3
    error_message = "Each region is in an AWS region of its own."
  }
}

variable "gateway_domain" {
  description = "A domain that you own: regions find each other at gw.<region>.<gateway_domain>."
  type        = string
}

variable "gateway_zone_id" {
  description = "The Route 53 zone that holds these names. Null: you point them at the output gateway_load_balancers."
  type        = string
  default     = null
}

variable "clients" {
  description = "The applications that may use the agents' doors, the same in every region: see the module region-aws."
  type = map(object({
    tokens       = optional(list(string), [])
    certificates = optional(list(string), [])
    read         = optional(list(string), [])
    write        = optional(list(string), [])
  }))
}

variable "collector" {
  description = "Where collectors pass traces and metrics, or null: see the module region-aws."
  type        = object({ traces = string, traces_cidrs = list(string), metrics = string })
  default     = null
}

variable "deletion_protection" {
  description = "Whether the load balancers refuse to be deleted."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags of everything that can have them."
  type        = map(string)
  default     = {}
}
