variable "set" {
  description = <<-TEXT
    What the regions share beside their list, with the keys and defaults of set.yaml: generation is raised with each
    change; sizes and times carry units, such as 256KiB and 12h; buckets."*" holds the defaults of every bucket.
  TEXT
  type = object({
    name         = string
    generation   = number
    trust_domain = optional(string, "isthmus.local")
    groups = optional(map(object({
      partitions = optional(number)
      regions    = optional(list(string))
    })), {})
    buckets = optional(map(object({
      group     = optional(string)
      kind      = optional(string)
      ttl       = optional(string)
      max_value = optional(string)
      unknown   = optional(string)
    })), {})
    clock = optional(object({
      max_ahead  = optional(string)
      max_behind = optional(string)
      max_offset = optional(string)
    }), {})
    membership    = optional(object({ max_offline = optional(string) }), {})
    lag_objective = optional(string)
  })
  nullable = false

  validation {
    condition     = can(regex("^[a-z0-9-]{1,32}$", var.set.name))
    error_message = "The set's name is 1 to 32 of the characters a-z, 0-9 and -."
  }
  validation {
    condition     = var.set.generation >= 1 && floor(var.set.generation) == var.set.generation
    error_message = "Generations are whole numbers, counted from 1."
  }
  validation {
    condition     = can(regex("^[a-z0-9._-]{1,255}$", var.set.trust_domain))
    error_message = "The trust domain is a lower-case name such as example.org."
  }
  validation {
    condition = alltrue([
      for name in concat(keys(var.set.groups), [for name in keys(var.set.buckets) : name if name != "*"]) :
      can(regex("^[a-z0-9-]{1,32}$", name))
    ])
    error_message = "Names of groups and buckets are 1 to 32 of the characters a-z, 0-9 and -; \"*\" stands for every bucket."
  }
  validation {
    condition = alltrue([
      for group in values(var.set.groups) : group.partitions == null ? true :
      group.partitions >= 1 && group.partitions <= 1024 && floor(group.partitions) == group.partitions
    ])
    error_message = "A group has 1 to 1024 partitions."
  }
  validation {
    condition = alltrue([
      for group in values(var.set.groups) : group.regions == null ? true :
      length(group.regions) > 0 && alltrue([for region in group.regions : contains(keys(var.regions), region)])
    ])
    error_message = "A group names at least one region, and only regions of the set; without a list every region holds it."
  }
  validation {
    condition = alltrue([
      for bucket in values(var.set.buckets) : bucket.group == null ? true :
      contains(concat(["default"], keys(var.set.groups)), bucket.group)
    ])
    error_message = "A bucket is in one of the groups, or in default."
  }
  validation {
    condition = alltrue([
      for name, bucket in var.set.buckets : bucket.unknown == null ? true :
      name == "*" && contains(["refuse", "create"], bucket.unknown)
    ])
    error_message = "unknown is allowed under \"*\" only: refuse or create."
  }
  validation {
    condition     = alltrue([for bucket in values(var.set.buckets) : bucket.kind == null ? true : bucket.kind == "value"])
    error_message = "The kind of a bucket is value."
  }
  validation {
    condition = alltrue([
      for size in [for bucket in values(var.set.buckets) : bucket.max_value if bucket.max_value != null] :
      can(regex("^[1-9][0-9]* ?(B|KiB|MiB|GiB|kB|MB|GB)$", size))
    ])
    error_message = "max_value is a size with its unit, such as 256KiB."
  }
  validation {
    condition = alltrue([
      for time in concat(
        [for bucket in values(var.set.buckets) : bucket.ttl],
        values(var.set.clock), values(var.set.membership), [var.set.lag_objective]
      ) : time == null ? true : can(regex("^([0-9]+ ?(ms|s|m|h|d) ?)+$", time))
    ])
    error_message = "Times carry their unit, such as 500ms, 10s or 12h."
  }
}

variable "regions" {
  description = <<-TEXT
    The member regions by name.
    cidr: the addresses of the region's network, of which no two regions share any.
    gateway_port: where the load balancer before the region's gateways listens.
    gateways: addresses instead of dns:gw.<region>.<gateway_domain>:<gateway_port>.
    trust: the file of CAs that vouch for the region, relative to set.yaml; trust/<region>.pem by default.
    identity: the URI in the region's certificates, where it is not the usual one.
  TEXT
  type = map(object({
    cidr         = string
    gateway_port = optional(number, 7443)
    gateways     = optional(list(string))
    trust        = optional(string)
    identity     = optional(string)
  }))
  nullable = false

  validation {
    condition     = length(var.regions) >= 1 && length(var.regions) <= 64
    error_message = "A set has 1 to 64 regions."
  }
  validation {
    condition     = alltrue([for name in keys(var.regions) : can(regex("^[a-z0-9-]{1,32}$", name))])
    error_message = "The name of a region is 1 to 32 of the characters a-z, 0-9 and -."
  }
  validation {
    condition = alltrue([
      for region in values(var.regions) : can(cidrnetmask(region.cidr)) ? cidrsubnet(region.cidr, 0, 0) == region.cidr : false
    ])
    error_message = "cidr is an IPv4 network, written with its first address: 10.1.0.0/16."
  }
  # Two networks overlap where the shorter of their two prefixes makes them the same one.
  validation {
    condition = alltrue(flatten([
      for name, region in var.regions : [
        for other, peer in var.regions : name == other ? true : try(
          cidrsubnet(join("/", [split("/", region.cidr)[0], min(split("/", region.cidr)[1], split("/", peer.cidr)[1])]), 0, 0) !=
          cidrsubnet(join("/", [split("/", peer.cidr)[0], min(split("/", region.cidr)[1], split("/", peer.cidr)[1])]), 0, 0),
        true)
      ]
    ]))
    error_message = "The networks of two regions overlap: give each its own cidr."
  }
  validation {
    condition = alltrue([
      for region in values(var.regions) : region.gateway_port >= 1 && region.gateway_port <= 65535
    ])
    error_message = "gateway_port is a port, 1 to 65535."
  }
  validation {
    condition = alltrue(flatten([
      for region in values(var.regions) : region.gateways == null ? [true] : concat([length(region.gateways) > 0], [
        for address in region.gateways :
        can(regex("^(srv:[A-Za-z0-9._-]{1,253}|(dns:)?[A-Za-z0-9._-]{1,253}:[1-9][0-9]{0,4})$", address))
      ])
    ]))
    error_message = "The address of a gateway is host:port, dns:name:port or srv:name."
  }
  validation {
    condition = alltrue([
      for region in values(var.regions) : region.trust == null ? true :
      can(regex("^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$", region.trust))
    ])
    error_message = "trust is a path below the folder of set.yaml."
  }
  validation {
    condition = length(distinct([for region in values(var.regions) : region.identity if region.identity != null])) == length(
      [for region in values(var.regions) : region.identity if region.identity != null]
    )
    error_message = "Two regions have the same identity."
  }
}

variable "gateway_domain" {
  description = "A domain of the operator's: other regions find the gateways of a region at gw.<region>.<gateway_domain>."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9-]+(\\.[a-z0-9-]+)+$", var.gateway_domain))
    error_message = "The domain is a lower-case name without a final dot, such as example.org."
  }
}
