# Agents and gateways: a group each over the three zones. An instance counts once its process is ready, and is let go
# once its process has drained.

# Which instance is which process: instance/process-name.
resource "aws_dynamodb_table" "names" {
  #checkov:skip=CKV_AWS_28:What it holds is taken again within an hour: there is nothing to restore.
  #checkov:skip=CKV_AWS_119:Names of processes and instances are no secret; they are encrypted with AWS's key.
  name         = "${local.name}-names"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "name"
  tags         = local.tags

  attribute {
    name = "name"
    type = "S"
  }

  server_side_encryption {
    enabled = true
  }
}

resource "aws_launch_template" "this" {
  for_each = local.roles

  name_prefix            = "${local.name}-${each.key}-"
  description            = "${each.key} of ${local.name}"
  image_id               = var.ami
  instance_type          = each.value.instance_type
  ebs_optimized          = true
  update_default_version = true
  vpc_security_group_ids = [each.value.security_group]
  user_data              = base64gzip(local.user_data[each.key])
  tags                   = local.tags

  iam_instance_profile {
    name = aws_iam_instance_profile.this[each.key].name
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_type           = "gp3"
      volume_size           = each.value.volume_gib
      encrypted             = true
      kms_key_id            = var.volume_kms_key_arn
      delete_on_termination = true
    }
  }

  dynamic "tag_specifications" {
    for_each = ["instance", "volume", "network-interface"]

    content {
      resource_type = tag_specifications.value
      tags          = merge(local.tags, { Name = "${local.name}-${each.key}" })
    }
  }

  lifecycle {
    precondition {
      condition     = length(base64gzip(local.user_data[each.key])) * 3 / 4 <= 16384
      error_message = "The files of the ${each.key} are larger than the 16 KiB that an instance can be given."
    }
  }
}

resource "aws_autoscaling_group" "this" {
  #checkov:skip=CKV_AWS_315:The launch template is named below, by the version that was applied.
  for_each = local.roles

  name                = "${local.name}-${each.key}"
  vpc_zone_identifier = [for zone in local.zones : local.private_subnets[zone]]
  desired_capacity    = each.value.count
  min_size            = each.value.count
  max_size            = length(local.process_names[each.key])
  target_group_arns   = each.value.target_groups
  # systemd starts a process again; an instance is replaced when the machine is gone.
  health_check_type         = "EC2"
  health_check_grace_period = 60
  # The first instances wait for isthmus region init, which needs the NATS that this apply makes.
  wait_for_capacity_timeout = "0"
  termination_policies      = ["OldestLaunchTemplate", "OldestInstance"]

  # By its number, so that a refresh that fails can go back.
  launch_template {
    id      = aws_launch_template.this[each.key].id
    version = aws_launch_template.this[each.key].latest_version
  }

  initial_lifecycle_hook {
    name                 = "ready"
    lifecycle_transition = "autoscaling:EC2_INSTANCE_LAUNCHING"
    heartbeat_timeout    = 3600
    default_result       = "ABANDON"
  }

  # Above the longest drain.
  initial_lifecycle_hook {
    name                 = "drain"
    lifecycle_transition = "autoscaling:EC2_INSTANCE_TERMINATING"
    heartbeat_timeout    = 900
    default_result       = "CONTINUE"
  }

  # One after the other: a new instance is ready before an old one is asked to end.
  instance_refresh {
    strategy = "Rolling"

    preferences {
      min_healthy_percentage = 100
      max_healthy_percentage = 100 + ceil(100 / each.value.count)
      instance_warmup        = 30
      skip_matching          = true
      auto_rollback          = true
    }
  }

  dynamic "tag" {
    for_each = merge(local.tags, { Name = "${local.name}-${each.key}" })

    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = false
    }
  }

  # An end waits for the drain of every instance.
  timeouts {
    delete = "30m"
  }

  depends_on = [aws_iam_role_policy.this, aws_route.private, aws_route_table_association.private]
}
