# What each role's instances may do: fetch the archives and secrets that are named for the role, and report
# that they are ready or drained.

locals {
  identities = ["agent", "gateway", "nats"]

  # What an instance fetches: the file, relative to the role's folder, and the ARN of what is in it.
  secret_files = {
    agent = merge(
      {
        "nats/agent.nk" = var.secrets.agent.nats_seed
        "nats/ca.pem"   = var.secrets.nats.authority
        "tls/agent.crt" = var.secrets.agent.door_certificate
        "tls/agent.key" = var.secrets.agent.door_key
      },
      { for arn in compact([var.secrets.agent.door_client_authorities]) : "tls/clients.pem" => arn },
      { for arn in compact([var.secrets.agent.door_clients_revoked]) : "tls/revoked-clients.txt" => arn }
    )
    gateway = merge(
      {
        "nats/gateway.nk" = var.secrets.gateway.nats_seed
        "nats/ca.pem"     = var.secrets.nats.authority
        "tls/gateway.crt" = var.secrets.gateway.certificate
        "tls/gateway.key" = var.secrets.gateway.key
      },
      { for arn in compact([var.secrets.gateway.revoked]) : "tls/revoked.txt" => arn },
      { for name, arn in var.trust : local.set.regions[name].trust => arn }
    )
    nats = {
      "tls/nats.crt"      = var.secrets.nats.certificate
      "tls/nats.key"      = var.secrets.nats.key
      "tls/authority.pem" = var.secrets.nats.authority
    }
  }

  secret_arns = {
    for role, files in local.secret_files : role => {
      for service in ["secretsmanager", "ssm"] : service =>
      sort(distinct([for arn in values(files) : arn if split(":", arn)[2] == service]))
    }
  }

  collector_archives = var.collector == null ? [] : [var.artifacts.collector]
  archives = {
    agent   = concat([var.artifacts.isthmus], local.collector_archives)
    gateway = concat([var.artifacts.isthmus], local.collector_archives)
    nats    = [var.artifacts.nats]
  }

  arn_prefix = "arn:${data.aws_partition.current.partition}"
  here       = "${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}"

  statements = {
    for role in local.identities : role => concat(
      [{
        Sid      = "Archives"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = [for archive in local.archives[role] : "${local.arn_prefix}:s3:::${var.artifacts.bucket}/${archive.key}"]
      }],
      [
        for arns in [local.secret_arns[role].secretsmanager] : {
          Sid      = "Secrets"
          Effect   = "Allow"
          Action   = ["secretsmanager:GetSecretValue"]
          Resource = arns
        } if length(arns) > 0
      ],
      [
        for arns in [local.secret_arns[role].ssm] : {
          Sid      = "Parameters"
          Effect   = "Allow"
          Action   = ["ssm:GetParameter"]
          Resource = arns
        } if length(arns) > 0
      ],
      [
        for keys in [compact(concat(var.secrets_kms_key_arns, [var.artifacts.kms_key_arn]))] : {
          Sid      = "Decrypt"
          Effect   = "Allow"
          Action   = ["kms:Decrypt"]
          Resource = sort(distinct(keys))
          Condition = {
            StringEquals = {
              "kms:ViaService" = [
                for service in ["s3", "secretsmanager", "ssm"] :
                "${service}.${data.aws_region.current.name}.${data.aws_partition.current.dns_suffix}"
              ]
            }
          }
        } if length(keys) > 0
      ],
      [
        for group in contains(keys(local.roles), role) ? ["${local.name}-${role}"] : [] : {
          Sid      = "Lifecycle"
          Effect   = "Allow"
          Action   = ["autoscaling:CompleteLifecycleAction"]
          Resource = ["${local.arn_prefix}:autoscaling:${local.here}:autoScalingGroup:*:autoScalingGroupName/${group}"]
        }
      ],
      [
        for names in contains(keys(local.roles), role) ? [local.process_names[role]] : [] : {
          Sid       = "Names"
          Effect    = "Allow"
          Action    = ["dynamodb:DeleteItem", "dynamodb:PutItem"]
          Resource  = [aws_dynamodb_table.names.arn]
          Condition = { "ForAllValues:StringEquals" = { "dynamodb:LeadingKeys" = names } }
        }
      ],
      # What Session Manager needs. AWS's own policy for it would let an instance read every parameter of the account.
      [
        for actions in var.session_manager ? [[
          "ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel",
          "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel"
          ]] : [] : {
          Sid      = "Sessions"
          Effect   = "Allow"
          Action   = actions
          Resource = ["*"]
        }
      ]
    )
  }
}

resource "aws_iam_role" "this" {
  for_each = toset(local.identities)

  name_prefix = "isthmus-${each.key}-"
  description = "Instances of ${each.key} in ${local.name}"
  tags        = local.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.${data.aws_partition.current.dns_suffix}" }
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  #checkov:skip=CKV_AWS_290:The one right without a resource is a session's; AWS gives these actions no resource.
  #checkov:skip=CKV_AWS_355:The one right without a resource is a session's; AWS gives these actions no resource.
  for_each = aws_iam_role.this

  name_prefix = "isthmus-${each.key}-"
  role        = each.value.id
  policy      = jsonencode({ Version = "2012-10-17", Statement = local.statements[each.key] })
}

resource "aws_iam_instance_profile" "this" {
  for_each = aws_iam_role.this

  name_prefix = "isthmus-${each.key}-"
  role        = each.value.name
  tags        = local.tags
}
