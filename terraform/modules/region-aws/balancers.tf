# Load balancers that pass TCP through: the TLS of links ends in the gateways, that of clients in the agents.

locals {
  gateway_subnets = {
    for zone in local.zones : zone => local.on_internet ? local.public_subnets[zone] : local.private_subnets[zone]
  }
}

resource "aws_eip" "gateway" {
  #checkov:skip=CKV2_AWS_19:It belongs to the gateways' load balancer, one a zone.
  for_each = local.on_internet ? local.zone_numbers : {}

  domain = "vpc"
  tags   = merge(local.tags, { Name = "${local.name}-gateway-${each.key}" })
}

resource "aws_lb" "gateway" {
  #checkov:skip=CKV_AWS_91:A network load balancer logs TLS listeners only, and this one terminates no TLS.
  #checkov:skip=CKV_AWS_150:deletion_protection decides it; it is on by default.
  #checkov:skip=CKV2_AWS_28:A web application firewall cannot protect a network load balancer.
  #checkov:skip=CKV2_AWS_20:There is no HTTP to redirect: links are TLS of the gateways' own.
  name_prefix                      = "gw-"
  load_balancer_type               = "network"
  internal                         = !local.on_internet
  security_groups                  = [aws_security_group.this["gateway-load-balancer"].id]
  enable_cross_zone_load_balancing = true
  enable_deletion_protection       = var.deletion_protection
  tags                             = merge(local.tags, { Name = "${local.name}-gateway" })

  dynamic "subnet_mapping" {
    for_each = local.gateway_subnets

    content {
      subnet_id     = subnet_mapping.value
      allocation_id = local.on_internet ? aws_eip.gateway[subnet_mapping.key].id : null
    }
  }

  depends_on = [aws_internet_gateway.this]
}

resource "aws_lb_target_group" "gateway" {
  name_prefix            = "gw-"
  port                   = var.link_port
  protocol               = "TCP"
  target_type            = "instance"
  vpc_id                 = local.vpc_id
  preserve_client_ip     = true
  deregistration_delay   = var.drain_seconds
  connection_termination = false
  tags                   = merge(local.tags, { Name = "${local.name}-gateway" })

  health_check {
    protocol            = "TCP"
    port                = "traffic-port"
    interval            = 10
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener" "gateway" {
  #checkov:skip=CKV_AWS_2:TLS passes through to the gateways, which ask for both certificates.
  #checkov:skip=CKV_AWS_103:TLS passes through to the gateways, which accept TLS 1.3 only.
  load_balancer_arn = aws_lb.gateway.arn
  port              = var.link_port
  protocol          = "TCP"
  tags              = local.tags

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.gateway.arn
  }
}

resource "aws_lb" "agent" {
  #checkov:skip=CKV_AWS_91:A network load balancer logs TLS listeners only, and this one terminates no TLS.
  #checkov:skip=CKV_AWS_150:deletion_protection decides it; it is on by default.
  #checkov:skip=CKV2_AWS_20:There is no HTTP to redirect: the door speaks TLS only.
  count = var.agents_load_balancer ? 1 : 0

  name_prefix                      = "ag-"
  load_balancer_type               = "network"
  internal                         = true
  security_groups                  = [aws_security_group.this["agent-load-balancer"].id]
  subnets                          = [for zone in local.zones : local.private_subnets[zone]]
  enable_cross_zone_load_balancing = true
  enable_deletion_protection       = var.deletion_protection
  tags                             = merge(local.tags, { Name = "${local.name}-agent" })
}

resource "aws_lb_target_group" "agent" {
  count = var.agents_load_balancer ? 1 : 0

  name_prefix            = "ag-"
  port                   = local.door_port
  protocol               = "TCP"
  target_type            = "instance"
  vpc_id                 = local.vpc_id
  preserve_client_ip     = true
  deregistration_delay   = var.drain_seconds
  connection_termination = false
  tags                   = merge(local.tags, { Name = "${local.name}-agent" })

  health_check {
    protocol            = "TCP"
    port                = "traffic-port"
    interval            = 10
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener" "agent" {
  #checkov:skip=CKV_AWS_2:TLS passes through to the agents.
  #checkov:skip=CKV_AWS_103:TLS passes through to the agents.
  count = var.agents_load_balancer ? 1 : 0

  load_balancer_arn = aws_lb.agent[0].arn
  port              = local.door_port
  protocol          = "TCP"
  tags              = local.tags

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.agent[0].arn
  }
}

resource "aws_route53_record" "agent" {
  count = var.agents_load_balancer ? 1 : 0

  zone_id = aws_route53_zone.internal.zone_id
  name    = "agents.${local.domain}"
  type    = "A"

  alias {
    name                   = aws_lb.agent[0].dns_name
    zone_id                = aws_lb.agent[0].zone_id
    evaluate_target_health = false
  }
}
