locals {
  security_groups = merge(
    {
      gateway               = "Gateways: the link port from their load balancer alone."
      gateway-load-balancer = "Before the gateways: the link port from the peers' networks alone."
      agent                 = "Agents: the door from clients alone."
      nats                  = "NATS: agents, gateways, each other, and the operators' networks."
    },
    var.agents_load_balancer ? { agent-load-balancer = "Before the agents: the door from clients alone." } : {}
  )

  door_port    = 7110
  nats_port    = 4222
  cluster_port = 6222

  # The door from clients, at the agents and at their load balancer.
  from_clients = merge([
    for group in var.agents_load_balancer ? ["agent", "agent-load-balancer"] : ["agent"] : merge(
      { for cidr in var.client_cidrs : "${group}-from-${cidr}" => { at = group, port = local.door_port, cidr = cidr } },
      {
        for name in keys(var.client_security_group_ids) : "${group}-from-client-${name}" =>
        { at = group, port = local.door_port, group_id = var.client_security_group_ids[name] }
      }
    )
  ]...)

  ingress = merge(
    local.from_clients,
    merge([
      for name, peer in var.peers : {
        for index, cidr in peer.dials_from : "gateway-load-balancer-from-${name}-${index + 1}" =>
        { at = "gateway-load-balancer", port = var.link_port, cidr = cidr }
      }
    ]...),
    {
      gateway-from-load-balancer = { at = "gateway", port = var.link_port, group = "gateway-load-balancer" }
      nats-from-agent            = { at = "nats", port = local.nats_port, group = "agent" }
      nats-from-gateway          = { at = "nats", port = local.nats_port, group = "gateway" }
      nats-from-nats             = { at = "nats", port = local.cluster_port, group = "nats" }
    },
    { for cidr in var.operator_cidrs : "nats-from-operator-${cidr}" => { at = "nats", port = local.nats_port, cidr = cidr } },
    var.agents_load_balancer ? {
      agent-from-load-balancer = { at = "agent", port = local.door_port, group = "agent-load-balancer" }
    } : {}
  )

  egress = merge(
    merge([
      for name, peer in var.peers : {
        for index, cidr in peer.listens_on : "gateway-to-${name}-${index + 1}" =>
        { at = "gateway", port = peer.port, cidr = cidr }
      }
    ]...),
    merge([
      for group in ["agent", "gateway", "nats"] : {
        for cidr in var.https_cidrs : "${group}-to-https-${cidr}" => { at = group, port = 443, cidr = cidr }
      }
    ]...),
    {
      agent-to-nats            = { at = "agent", port = local.nats_port, group = "nats" }
      gateway-to-nats          = { at = "gateway", port = local.nats_port, group = "nats" }
      nats-to-nats             = { at = "nats", port = local.cluster_port, group = "nats" }
      load-balancer-to-gateway = { at = "gateway-load-balancer", port = var.link_port, group = "gateway" }
    },
    var.agents_load_balancer ? {
      load-balancer-to-agent = { at = "agent-load-balancer", port = local.door_port, group = "agent" }
    } : {},
    var.collector == null ? {} : merge([
      for group in ["agent", "gateway"] : {
        for cidr in var.collector.traces_cidrs : "${group}-to-traces-${cidr}" =>
        { at = group, port = tonumber(split(":", var.collector.traces)[1]), cidr = cidr }
      }
    ]...)
  )
}

resource "aws_security_group" "this" {
  #checkov:skip=CKV2_AWS_5:Each is attached to instances or a load balancer, by its key.
  for_each = local.security_groups

  name_prefix = "${local.name}-${each.key}-"
  description = each.value
  vpc_id      = local.vpc_id
  tags        = merge(local.tags, { Name = "${local.name}-${each.key}" })

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "this" {
  for_each = local.ingress

  security_group_id            = aws_security_group.this[each.value.at].id
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  cidr_ipv4                    = try(each.value.cidr, null)
  referenced_security_group_id = try(aws_security_group.this[each.value.group].id, each.value.group_id, null)
  tags                         = local.tags
}

resource "aws_vpc_security_group_egress_rule" "this" {
  for_each = local.egress

  security_group_id            = aws_security_group.this[each.value.at].id
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  cidr_ipv4                    = try(each.value.cidr, null)
  referenced_security_group_id = try(aws_security_group.this[each.value.group].id, null)
  tags                         = local.tags
}
