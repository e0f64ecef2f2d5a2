data "aws_region" "current" {}
data "aws_partition" "current" {}
data "aws_caller_identity" "current" {}

locals {
  set  = yamldecode(var.set_yaml)
  name = "isthmus-${local.set.set}-${var.region}"
  # NATS and agents within the network.
  domain = "${var.region}.${local.set.set}.internal"
  tags   = merge(var.tags, { "isthmus:set" = local.set.set, "isthmus:region" = var.region })

  # The groups of set.yaml, with Isthmus's defaults: default always exists, a group has 4 partitions, every
  # region holds it.
  groups = merge({ default = {} }, try(local.set.groups, {}))
  partitions_here = [
    for group in values(local.groups) : try(group.partitions, 4) if try(contains(group.regions, var.region), true)
  ]
  # Of every server: all shards, 16 MiB of events, 64 MiB of each group's aside.
  log_gib = (
    sum(concat([0], local.partitions_here)) * var.log.max_gib + ceil((16 + 64 * length(local.partitions_here)) / 1024)
  )
  nats_file_gib = floor(var.nats.volume_gib * 0.95)

  # Twice as many as run, as a group may be while it is refreshed.
  process_names = {
    for role, count in { agent = var.agents.count, gateway = var.gateways.count } : role =>
    [for number in range(1, 2 * count + 1) : "${role}-${number}"]
  }

  roles = {
    agent = {
      service        = "isthmus-region-agent"
      settings       = "region-agent.yaml"
      admin_port     = 7111
      count          = var.agents.count
      instance_type  = var.agents.instance_type
      volume_gib     = var.agents.volume_gib
      target_groups  = aws_lb_target_group.agent[*].arn
      security_group = aws_security_group.this["agent"].id
    }
    gateway = {
      service        = "isthmus-gateway"
      settings       = "gateway.yaml"
      admin_port     = 7115
      count          = var.gateways.count
      instance_type  = var.gateways.instance_type
      volume_gib     = 16
      target_groups  = [aws_lb_target_group.gateway.arn]
      security_group = aws_security_group.this["gateway"].id
    }
  }
}
