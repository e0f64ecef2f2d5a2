variable "region" {
  description = "The region's name in set.yaml. It may be, and need not be, the name that AWS uses."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9-]{1,32}$", var.region))
    error_message = "The name of a region is 1 to 32 of the characters a-z, 0-9 and -."
  }
}

variable "set_yaml" {
  description = "The text of set.yaml, the same bytes for every region: the output of the module region-set."
  type        = string
  nullable    = false

  validation {
    condition     = can(yamldecode(var.set_yaml).regions[var.region])
    error_message = "set_yaml is not a set.yaml that names the region."
  }
  validation {
    condition = alltrue([
      for region in try(values(yamldecode(var.set_yaml).regions), []) :
      can(regex("^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)?$", region.trust))
    ])
    error_message = "The trust of each region is a file beside set.yaml, or in a folder there."
  }
}

variable "peers" {
  description = <<-TEXT
    The other regions of the set by name. dials_from: the networks that their gateways connect from, which may open
    the link port here. listens_on: the networks that their gateways are reached at, which this region's may connect
    to. Both are outputs of this module.
  TEXT
  type = map(object({
    dials_from = list(string)
    listens_on = list(string)
    port       = optional(number, 7443)
  }))
  nullable = false

  validation {
    condition = alltrue(flatten([
      for peer in values(var.peers) : [for cidr in concat(peer.dials_from, peer.listens_on) : can(cidrnetmask(cidr))]
    ]))
    error_message = "dials_from and listens_on are lists of IPv4 networks, such as 198.51.100.7/32."
  }
  validation {
    condition = alltrue(flatten([
      for peer in values(var.peers) : [for cidr in peer.dials_from : try(split("/", cidr)[1] >= 8, true)]
    ]))
    error_message = "dials_from opens the link port to the peers only: no network is wider than /8."
  }
  validation {
    condition = toset(keys(var.peers)) == toset([
      for name in try(keys(yamldecode(var.set_yaml).regions), []) : name if name != var.region
    ])
    error_message = "peers are the other regions of set_yaml, each of them and no more."
  }
  validation {
    condition     = alltrue([for peer in values(var.peers) : peer.port >= 1 && peer.port <= 65535])
    error_message = "port is a port, 1 to 65535."
  }
}

variable "new_network" {
  description = "A network to create: its addresses (/16 to /22) and three zones. Null where existing_network is given."
  type = object({
    cidr  = string
    zones = list(string)
  })
  default = null

  validation {
    condition     = (var.new_network == null) != (var.existing_network == null)
    error_message = "Give one of new_network and existing_network."
  }
  validation {
    condition = var.new_network == null ? true : (
      length(var.new_network.zones) == 3 && length(distinct(var.new_network.zones)) == 3
    )
    error_message = "A region needs three zones."
  }
  validation {
    condition = var.new_network == null ? true : can(cidrnetmask(var.new_network.cidr)) ? (
      split("/", var.new_network.cidr)[1] >= 16 && split("/", var.new_network.cidr)[1] <= 22
    ) : false
    error_message = "cidr is an IPv4 network from /16 to /22."
  }
}

variable "existing_network" {
  description = <<-TEXT
    An existing network. subnets: by zone, three of them, a private subnet for the instances and, where gateways are
    reached over the internet, a public one for their load balancer. dials_from: the networks that connections from the
    private subnets come from, as the other regions see them; cidr by default. Private subnets need a way to S3 and to
    the other AWS services that instances ask.
  TEXT
  type = object({
    vpc_id     = string
    cidr       = string
    subnets    = map(object({ private = string, public = optional(string) }))
    dials_from = optional(list(string))
  })
  default = null

  validation {
    condition     = var.existing_network == null ? true : length(var.existing_network.subnets) == 3
    error_message = "A region needs three zones."
  }
  validation {
    condition     = var.existing_network == null ? true : can(cidrnetmask(var.existing_network.cidr))
    error_message = "cidr is an IPv4 network."
  }
  validation {
    condition = var.existing_network == null || var.gateway_exposure == "private" ? true : (
      alltrue([for subnet in values(var.existing_network.subnets) : subnet.public != null]) &&
      try(length(var.existing_network.dials_from) > 0, false)
    )
    error_message = "Gateways on the internet need a public subnet in every zone, and dials_from."
  }
}

variable "gateway_exposure" {
  description = <<-TEXT
    How the regions reach each other: internet (public addresses, one a zone) or private (over peered networks, which
    this module does not join).
  TEXT
  type        = string
  default     = "internet"
  nullable    = false

  validation {
    condition     = contains(["internet", "private"], var.gateway_exposure)
    error_message = "gateway_exposure is internet or private."
  }
}

variable "gateway_name" {
  description = "The name in set.yaml that other regions find this region's gateways by, such as gw.eu-west.example.org."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9-]+(\\.[a-z0-9-]+)+$", var.gateway_name))
    error_message = "gateway_name is a lower-case name without a final dot."
  }
}

variable "gateway_zone_id" {
  description = "The Route 53 zone that holds gateway_name. Null: the operator points the name at gateway_load_balancer."
  type        = string
  default     = null
}

variable "link_port" {
  description = "The port that gateways listen on, and their load balancer before them."
  type        = number
  default     = 7443
  nullable    = false

  validation {
    condition     = var.link_port >= 1024 && var.link_port <= 65535
    error_message = "link_port is a port from 1024 to 65535."
  }
}

variable "ami" {
  description = "The image of every instance: a Linux with systemd, cloud-init, the AWS CLI 2, curl and tar, such as Amazon Linux 2023."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^ami-[0-9a-f]{8,17}$", var.ami))
    error_message = "ami is the identifier of an image: ami-0123456789abcdef0."
  }
}

variable "artifacts" {
  description = <<-TEXT
    The archives that instances install, in a bucket of the same AWS region, each with the SHA-256 that it must have:
    a release of Isthmus (make release), one of nats-server, and where there is a collector one of otelcol-contrib.
    kms_key_arn: the key that the bucket is encrypted with, if it is one of the operator's.
  TEXT
  type = object({
    bucket      = string
    isthmus     = object({ key = string, sha256 = string })
    nats        = object({ key = string, sha256 = string })
    collector   = optional(object({ key = string, sha256 = string }))
    kms_key_arn = optional(string)
  })
  nullable = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.artifacts.bucket))
    error_message = "bucket is the name of an S3 bucket."
  }
  validation {
    condition = alltrue([
      for archive in [var.artifacts.isthmus, var.artifacts.nats, var.artifacts.collector] : archive == null ? true :
      can(regex("^[0-9a-f]{64}$", archive.sha256))
    ])
    error_message = "sha256 is 64 hexadecimal digits, as sha256sum prints them."
  }
  validation {
    condition = alltrue([
      for archive in [var.artifacts.isthmus, var.artifacts.nats, var.artifacts.collector] : archive == null ? true :
      can(regex("^[A-Za-z0-9._/-]+$", archive.key))
    ])
    error_message = "key is made of letters, digits and . _ / -."
  }
}

variable "secrets" {
  description = <<-TEXT
    The ARNs of what instances fetch for themselves, in Secrets Manager (text) or the Parameter Store. nats_seed: the
    seed of the role's nkey. agent.door_*: the certificate and key of the agents' door, the CAs of clients that
    have certificates, and the fingerprints of those that are refused. gateway.*: the region's link certificate and
    key, and the fingerprints that are refused. nats.*: certificate and key of the NATS servers, for
    their names nats-1 to nats-3.<region>.<set>.internal, for both ends of connections, and the CA
    that vouches for them and for nothing else: they speak TLS with agents and gateways, and among each other.
  TEXT
  type = object({
    agent = object({
      nats_seed               = string
      door_certificate        = string
      door_key                = string
      door_client_authorities = optional(string)
      door_clients_revoked    = optional(string)
    })
    gateway = object({
      nats_seed   = string
      certificate = string
      key         = string
      revoked     = optional(string)
    })
    nats = object({
      certificate = string
      key         = string
      authority   = string
    })
  })
  nullable = false

  validation {
    condition = alltrue([
      for arn in compact(concat(values(var.secrets.agent), values(var.secrets.gateway), values(var.secrets.nats))) :
      can(regex("^arn:[a-z-]+:(secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:|ssm:[a-z0-9-]+:[0-9]{12}:parameter/)[\\w/+=.@-]+$", arn))
    ])
    error_message = "A secret is given by its whole ARN, in Secrets Manager or the Parameter Store: never its value, never a pattern."
  }
  validation {
    condition = alltrue([
      for pair in [["agent", "gateway"], ["agent", "nats"], ["gateway", "nats"]] :
      length(setintersection(compact(values(var.secrets[pair[0]])), compact(values(var.secrets[pair[1]])))) == 0
    ])
    error_message = "Agents, gateways and NATS servers share no secret."
  }
  validation {
    condition     = var.secrets.agent.door_clients_revoked == null || var.secrets.agent.door_client_authorities != null
    error_message = "Without secrets.agent.door_client_authorities no client has a certificate that could be revoked."
  }
}

variable "trust" {
  description = "For each region of the set the ARN of its CAs (PEM), in Secrets Manager or the Parameter Store."
  type        = map(string)
  nullable    = false

  validation {
    condition = alltrue([
      for arn in values(var.trust) :
      can(regex("^arn:[a-z-]+:(secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:|ssm:[a-z0-9-]+:[0-9]{12}:parameter/)[\\w/+=.@-]+$", arn))
    ])
    error_message = "Trust is given by whole ARNs, in Secrets Manager or the Parameter Store."
  }
  validation {
    condition     = toset(keys(var.trust)) == toset(try(keys(yamldecode(var.set_yaml).regions), []))
    error_message = "trust names every region of set_yaml, and no more."
  }
}

variable "secrets_kms_key_arns" {
  description = "The keys that secrets and trust are encrypted with, where they are the operator's."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = alltrue([
      for arn in var.secrets_kms_key_arns : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", arn))
    ])
    error_message = "A key is given by its ARN."
  }
}

variable "secrets_interval_minutes" {
  description = "How often instances look for changed secrets. Processes load what changed without a restart."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.secrets_interval_minutes >= 1 && var.secrets_interval_minutes <= 20
    error_message = "secrets_interval_minutes is 1 to 20: an instance's name, kept as often, lapses after an hour."
  }
}

variable "nats_nkeys" {
  description = "The public nkeys of the users in the region's NATS. Their seeds are secrets, and are not given here."
  type = object({
    operator = string
    agent    = string
    gateway  = string
    system   = string
  })
  nullable = false

  validation {
    condition     = alltrue([for nkey in values(var.nats_nkeys) : can(regex("^U[A-Z2-7]{55}$", nkey))])
    error_message = "A public nkey of a user is U and 55 of A-Z and 2-7. What begins with SU is a seed: it does not belong here."
  }
  validation {
    condition     = length(distinct(values(var.nats_nkeys))) == 4
    error_message = "Each user has an nkey of its own."
  }
}

variable "nats" {
  description = <<-TEXT
    The NATS servers, one a zone. volume_gib, iops and throughput (MiB/s): of the data volume of each, which outlives the
    instance. final_snapshot: whether a volume that is destroyed leaves a snapshot.
  TEXT
  type = object({
    instance_type  = optional(string, "m7g.large")
    volume_gib     = optional(number, 160)
    iops           = optional(number, 3000)
    throughput     = optional(number, 250)
    final_snapshot = optional(bool, true)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.nats.volume_gib >= 8 && var.nats.volume_gib <= 16384
    error_message = "volume_gib is 8 to 16384."
  }
  validation {
    condition = (
      var.nats.iops >= 3000 && var.nats.iops <= 16000 && var.nats.throughput >= 125 && var.nats.throughput <= 1000
    )
    error_message = "gp3 has 3000 to 16000 iops and a throughput of 125 to 1000 MiB/s."
  }
}

variable "log" {
  description = "The log of each shard: appends are refused above max_gib; it is trimmed to retention_gib."
  type = object({
    max_gib       = optional(number, 16)
    retention_gib = optional(number, 8)
  })
  default  = {}
  nullable = false

  validation {
    condition = (
      var.log.retention_gib >= 1 && var.log.retention_gib < var.log.max_gib &&
      floor(var.log.max_gib) == var.log.max_gib && floor(var.log.retention_gib) == var.log.retention_gib
    )
    error_message = "max_gib and retention_gib are whole numbers, retention_gib at least 1 and below max_gib."
  }
}

variable "agents" {
  description = <<-TEXT
    The region's agents. memory_soft, memory_hard: above the first puts are refused, above the second nothing is
    applied; both below what the instance type has. volume_gib: it holds checkpoints.
  TEXT
  type = object({
    count         = optional(number, 3)
    instance_type = optional(string, "r7g.large")
    memory_soft   = optional(string, "12GiB")
    memory_hard   = optional(string, "14GiB")
    volume_gib    = optional(number, 64)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.agents.count >= 2 && var.agents.count <= 30 && floor(var.agents.count) == var.agents.count
    error_message = "A region has 2 to 30 agents."
  }
  validation {
    condition = alltrue([
      for size in [var.agents.memory_soft, var.agents.memory_hard] : can(regex("^[1-9][0-9]* ?(MiB|GiB|MB|GB)$", size))
    ])
    error_message = "memory_soft and memory_hard are sizes with their unit, such as 12GiB."
  }
  validation {
    condition     = var.agents.volume_gib >= 16 && var.agents.volume_gib <= 16384
    error_message = "volume_gib is 16 to 16384."
  }
}

variable "gateways" {
  description = "The region's gateways: one leads, the others stand by."
  type = object({
    count         = optional(number, 2)
    instance_type = optional(string, "m7g.large")
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.gateways.count >= 2 && var.gateways.count <= 9 && floor(var.gateways.count) == var.gateways.count
    error_message = "A region has 2 to 9 gateways."
  }
}

variable "clients" {
  description = <<-TEXT
    The applications that may use the agents' door, by name: the hashes of their tokens (as isthmus token prints them) or
    the names in their certificates, and the buckets that they may read and write; "*" is every bucket.
  TEXT
  type = map(object({
    tokens       = optional(list(string), [])
    certificates = optional(list(string), [])
    read         = optional(list(string), [])
    write        = optional(list(string), [])
  }))
  nullable = false

  validation {
    condition     = length(var.clients) > 0
    error_message = "Name at least one client: a door that other machines can reach is for named clients only."
  }
  validation {
    condition     = alltrue([for name in keys(var.clients) : can(regex("^[a-z0-9-]{1,32}$", name))])
    error_message = "The name of a client is 1 to 32 of the characters a-z, 0-9 and -."
  }
  validation {
    condition     = alltrue([for client in values(var.clients) : length(client.tokens) + length(client.certificates) > 0])
    error_message = "Each client has tokens or certificates to authenticate with."
  }
  validation {
    condition = alltrue(flatten([
      for client in values(var.clients) : [for token in client.tokens : can(regex("^sha256:[0-9a-f]{64}$", token))]
    ]))
    error_message = "tokens holds hashes (sha256: and 64 hexadecimal digits), not the tokens themselves."
  }
  validation {
    condition = var.secrets.agent.door_client_authorities != null || alltrue([
      for client in values(var.clients) : length(client.certificates) == 0
    ])
    error_message = "Clients with certificates need secrets.agent.door_client_authorities."
  }
}

variable "client_cidrs" {
  description = "The networks that reach the agents' door."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for cidr in var.client_cidrs : can(cidrnetmask(cidr)) ? split("/", cidr)[1] >= 8 : false])
    error_message = "client_cidrs are IPv4 networks, none wider than /8."
  }
}

variable "client_security_group_ids" {
  description = "The security groups that reach the agents' door, by names that stay the same."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.client_security_group_ids) : can(regex("^[a-z0-9-]+$", name))])
    error_message = "Names are made of a-z, 0-9 and -."
  }
}

variable "agents_load_balancer" {
  description = "Whether an internal load balancer passes the clients' TLS through to the agents."
  type        = bool
  default     = true
  nullable    = false
}

variable "operator_cidrs" {
  description = "The networks that isthmus region init is run from: they reach NATS."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for cidr in var.operator_cidrs : can(cidrnetmask(cidr)) ? split("/", cidr)[1] >= 8 : false])
    error_message = "operator_cidrs are IPv4 networks, none wider than /8."
  }
}

variable "session_manager" {
  description = "Whether operators may open sessions on the instances (AWS Systems Manager). No other way in is created."
  type        = bool
  default     = true
  nullable    = false
}

variable "https_cidrs" {
  description = "Where instances reach AWS services and the receiver of metrics over HTTPS; narrower where the network has endpoints for them."
  type        = list(string)
  default     = ["0.0.0.0/0"]
  nullable    = false

  validation {
    condition     = length(var.https_cidrs) > 0 && alltrue([for cidr in var.https_cidrs : can(cidrnetmask(cidr))])
    error_message = "https_cidrs are IPv4 networks, at least one."
  }
}

variable "collector" {
  description = <<-TEXT
    An OpenTelemetry collector on every agent and gateway: where it passes traces (host:port, OTLP over gRPC) and metrics
    (an https URL of Prometheus remote write), and the network that the receiver of traces is in. Null: none.
  TEXT
  type = object({
    traces       = string
    traces_cidrs = list(string)
    metrics      = string
  })
  default = null

  validation {
    condition     = var.collector == null ? true : var.artifacts.collector != null
    error_message = "A collector needs its archive: artifacts.collector."
  }
  validation {
    condition = var.collector == null ? true : (
      can(regex("^[A-Za-z0-9.-]+:[1-9][0-9]{0,4}$", var.collector.traces)) &&
      can(regex("^https://[A-Za-z0-9.-]+(/[^\\s@]*)?$", var.collector.metrics))
    )
    error_message = "traces is host:port, metrics an https URL without port or password."
  }
  validation {
    condition     = var.collector == null ? true : alltrue([for cidr in var.collector.traces_cidrs : can(cidrnetmask(cidr))])
    error_message = "traces_cidrs are IPv4 networks."
  }
}

variable "trace_ratio" {
  description = "The share of traces that is recorded where there is a collector, 0 to 1."
  type        = number
  default     = 0.01
  nullable    = false

  validation {
    condition     = var.trace_ratio >= 0 && var.trace_ratio <= 1
    error_message = "trace_ratio is 0 to 1."
  }
}

variable "drain_seconds" {
  description = "How long a process may take to finish what it has begun after a request to stop."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.drain_seconds >= 1 && var.drain_seconds <= 600 && floor(var.drain_seconds) == var.drain_seconds
    error_message = "drain_seconds is a whole number, 1 to 600."
  }
}

variable "volume_kms_key_arn" {
  description = "The key that volumes are encrypted with. Null: the account's own for EBS."
  type        = string
  default     = null

  validation {
    condition = var.volume_kms_key_arn == null ? true : (
      can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.volume_kms_key_arn))
    )
    error_message = "A key is given by its ARN."
  }
}

variable "deletion_protection" {
  description = "Whether the load balancers refuse to be deleted. It has to be switched off before a destroy."
  type        = bool
  default     = true
  nullable    = false
}

variable "tags" {
  description = "Tags of everything that can have them."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(var.tags) <= 40
    error_message = "At most 40 tags: the module adds its own."
  }
}
