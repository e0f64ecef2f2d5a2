# Three servers with identities that stay: the address, the name and the data of each outlive its instance.

resource "aws_network_interface" "nats" {
  for_each = local.zone_numbers

  subnet_id       = local.private_subnets[each.key]
  security_groups = [aws_security_group.this["nats"].id]
  description     = "NATS server ${each.value} of ${local.name}"
  tags            = merge(local.tags, { Name = "${local.name}-nats-${each.value}" })
}

resource "aws_route53_record" "nats" {
  #checkov:skip=CKV2_AWS_23:The address is that of the network interface above.
  for_each = local.zone_numbers

  zone_id = aws_route53_zone.internal.zone_id
  name    = "nats-${each.value}.${local.domain}"
  type    = "A"
  ttl     = 60
  records = [aws_network_interface.nats[each.key].private_ip]
}

resource "aws_ebs_volume" "nats" {
  #checkov:skip=CKV_AWS_189:The key is the operator's to choose: volume_kms_key_arn. The volume is always encrypted.
  for_each = local.zone_numbers

  availability_zone = each.key
  type              = "gp3"
  size              = var.nats.volume_gib
  iops              = var.nats.iops
  throughput        = var.nats.throughput
  encrypted         = true
  kms_key_id        = var.volume_kms_key_arn
  final_snapshot    = var.nats.final_snapshot
  tags              = merge(local.tags, { Name = "${local.name}-nats-${each.value}" })
}

resource "aws_volume_attachment" "nats" {
  for_each = local.zone_numbers

  device_name                    = "/dev/sdf"
  volume_id                      = aws_ebs_volume.nats[each.key].id
  instance_id                    = aws_instance.nats[each.key].id
  stop_instance_before_detaching = true
}

resource "aws_instance" "nats" {
  #checkov:skip=CKV_AWS_126:What NATS and Isthmus report about themselves is finer than CloudWatch by the minute.
  for_each = local.zone_numbers

  ami                  = var.ami
  instance_type        = var.nats.instance_type
  ebs_optimized        = true
  iam_instance_profile = aws_iam_instance_profile.this["nats"].name
  user_data_base64     = base64gzip(local.user_data["nats-${each.value}"])
  tags                 = merge(local.tags, { Name = "${local.name}-nats-${each.value}" })

  network_interface {
    device_index         = 0
    network_interface_id = aws_network_interface.nats[each.key].id
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = 16
    encrypted   = true
    kms_key_id  = var.volume_kms_key_arn
  }

  lifecycle {
    # An apply that replaced all three at once would lose the region's log. Each is replaced by name, one after
    # the other: docs/operations/terraform.md.
    ignore_changes = [ami, user_data_base64]

    precondition {
      condition = local.nats_file_gib > local.log_gib
      error_message = join(" ", [
        "The NATS volumes hold ${local.nats_file_gib} GiB, and this region's shards may take ${local.log_gib} GiB:",
        "raise nats.volume_gib or lower log.max_gib."
      ])
    }
    precondition {
      condition     = length(base64gzip(local.user_data["nats-${each.value}"])) * 3 / 4 <= 16384
      error_message = "The files of a NATS server are larger than the 16 KiB that an instance can be given."
    }
  }

  depends_on = [aws_iam_role_policy.this, aws_route.private, aws_route_table_association.private]
}
