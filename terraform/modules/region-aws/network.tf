locals {
  zones = var.new_network == null ? sort(keys(var.existing_network.subnets)) : var.new_network.zones
  # Zones by a key that is known before anything exists, in the order that was given.
  zone_numbers = { for index, zone in local.zones : zone => index + 1 }
  new_zones    = var.new_network == null ? {} : local.zone_numbers

  vpc_id       = var.new_network == null ? var.existing_network.vpc_id : aws_vpc.this[0].id
  network_cidr = var.new_network == null ? var.existing_network.cidr : var.new_network.cidr
  private_subnets = {
    for zone in local.zones : zone =>
    var.new_network == null ? var.existing_network.subnets[zone].private : aws_subnet.private[zone].id
  }
  public_subnets = {
    for zone in local.zones : zone =>
    var.new_network == null ? var.existing_network.subnets[zone].public : aws_subnet.public[zone].id
  }

  on_internet = var.gateway_exposure == "internet"
  dials_from = !local.on_internet || var.new_network == null ? (
    try(coalescelist(var.existing_network.dials_from), [local.network_cidr])
  ) : [for zone in local.zones : "${aws_eip.outbound[zone].public_ip}/32"]
  listens_on = local.on_internet ? [for zone in local.zones : "${aws_eip.gateway[zone].public_ip}/32"] : [local.network_cidr]
}

resource "aws_vpc" "this" {
  #checkov:skip=CKV2_AWS_11:Whether flows are recorded, where and for how long, is for the account to decide.
  count = var.new_network == null ? 0 : 1

  cidr_block           = var.new_network.cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = merge(local.tags, { Name = local.name })
}

resource "aws_default_security_group" "this" {
  count = var.new_network == null ? 0 : 1

  vpc_id = aws_vpc.this[0].id
  tags   = merge(local.tags, { Name = "${local.name}-default-unused" })
}

resource "aws_subnet" "private" {
  for_each = local.new_zones

  vpc_id            = aws_vpc.this[0].id
  availability_zone = each.key
  cidr_block        = cidrsubnet(var.new_network.cidr, 3, each.value)
  tags              = merge(local.tags, { Name = "${local.name}-private-${each.key}" })
}

resource "aws_subnet" "public" {
  for_each = local.new_zones

  vpc_id            = aws_vpc.this[0].id
  availability_zone = each.key
  cidr_block        = cidrsubnet(var.new_network.cidr, 6, each.value)
  tags              = merge(local.tags, { Name = "${local.name}-public-${each.key}" })
}

resource "aws_internet_gateway" "this" {
  count = var.new_network == null ? 0 : 1

  vpc_id = aws_vpc.this[0].id
  tags   = merge(local.tags, { Name = local.name })
}

resource "aws_eip" "outbound" {
  #checkov:skip=CKV2_AWS_19:It belongs to the NAT gateway of its zone.
  for_each = local.new_zones

  domain = "vpc"
  tags   = merge(local.tags, { Name = "${local.name}-outbound-${each.key}" })
}

resource "aws_nat_gateway" "this" {
  for_each = local.new_zones

  allocation_id = aws_eip.outbound[each.key].id
  subnet_id     = aws_subnet.public[each.key].id
  tags          = merge(local.tags, { Name = "${local.name}-${each.key}" })
  depends_on    = [aws_internet_gateway.this]
}

resource "aws_route_table" "public" {
  count = var.new_network == null ? 0 : 1

  vpc_id = aws_vpc.this[0].id
  tags   = merge(local.tags, { Name = "${local.name}-public" })
}

resource "aws_route" "public" {
  count = var.new_network == null ? 0 : 1

  route_table_id         = aws_route_table.public[0].id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this[0].id
}

resource "aws_route_table_association" "public" {
  for_each = local.new_zones

  subnet_id      = aws_subnet.public[each.key].id
  route_table_id = aws_route_table.public[0].id
}

resource "aws_route_table" "private" {
  for_each = local.new_zones

  vpc_id = aws_vpc.this[0].id
  tags   = merge(local.tags, { Name = "${local.name}-private-${each.key}" })
}

resource "aws_route" "private" {
  for_each = local.new_zones

  route_table_id         = aws_route_table.private[each.key].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.this[each.key].id
}

resource "aws_route_table_association" "private" {
  for_each = local.new_zones

  subnet_id      = aws_subnet.private[each.key].id
  route_table_id = aws_route_table.private[each.key].id
}

resource "aws_vpc_endpoint" "s3" {
  count = var.new_network == null ? 0 : 1

  vpc_id            = aws_vpc.this[0].id
  service_name      = "com.amazonaws.${data.aws_region.current.name}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [for zone in local.zones : aws_route_table.private[zone].id]
  tags              = merge(local.tags, { Name = "${local.name}-s3" })
}

# The names that agents and gateways find NATS by, and NATS servers each other: they outlive the instances.
resource "aws_route53_zone" "internal" {
  #checkov:skip=CKV2_AWS_38:DNSSEC does not exist for private zones.
  #checkov:skip=CKV2_AWS_39:Queries for four private names reveal nothing that is worth a log.
  name          = local.domain
  comment       = "NATS and agents of ${local.name}"
  force_destroy = false
  tags          = local.tags

  vpc {
    vpc_id = local.vpc_id
  }
}

resource "aws_route53_record" "gateway" {
  count = var.gateway_zone_id == null ? 0 : 1

  zone_id = var.gateway_zone_id
  name    = var.gateway_name
  type    = "A"

  alias {
    name                   = aws_lb.gateway.dns_name
    zone_id                = aws_lb.gateway.zone_id
    evaluate_target_health = false
  }
}
