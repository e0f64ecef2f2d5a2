mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { name = "eu-west-1" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws", dns_suffix = "amazonaws.com" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_resource "aws_eip" {
    defaults = { public_ip = "198.51.100.7" }
  }
  mock_resource "aws_lb" {
    defaults = {
      arn      = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/net/gw/0123456789abcdef"
      dns_name = "gw.elb.example.org"
      zone_id  = "Z0123456789"
    }
  }
  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/gw/0123456789abcdef" }
  }
  mock_resource "aws_network_interface" {
    defaults = { private_ip = "10.1.32.10" }
  }
  mock_resource "aws_ebs_volume" {
    defaults = { id = "vol-0123456789abcdef0" }
  }
  mock_resource "aws_dynamodb_table" {
    defaults = { arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/isthmus-shop-eu-west-names" }
  }
  mock_resource "aws_launch_template" {
    defaults = { id = "lt-0123456789abcdef0", latest_version = 3 }
  }
}

variables {
  region       = "eu-west"
  gateway_name = "gw.eu-west.example.org"
  set_yaml     = <<-YAML
    set: shop
    generation: 7
    regions:
      eu-west: { gateways: ["dns:gw.eu-west.example.org:7443"], trust: trust/eu-west.pem }
      eu-central: { gateways: ["dns:gw.eu-central.example.org:7443"], trust: trust/eu-central.pem }
      us-east: { gateways: ["dns:gw.us-east.example.org:7444"], trust: trust/us-east.pem }
    groups:
      default: { partitions: 4 }
      eu-only: { partitions: 1, regions: [eu-west, eu-central] }
      us-only: { partitions: 9, regions: [us-east] }
  YAML
  peers = {
    eu-central = { dials_from = ["198.51.100.20/32"], listens_on = ["198.51.100.30/32"] }
    us-east    = { dials_from = ["203.0.113.20/32", "203.0.113.21/32"], listens_on = ["203.0.113.30/32"], port = 7444 }
  }
  new_network = { cidr = "10.1.0.0/16", zones = ["eu-west-1a", "eu-west-1b", "eu-west-1c"] }
  ami         = "ami-0123456789abcdef0"
  artifacts = {
    bucket    = "shop-archives"
    isthmus   = { key = "isthmus.tar.gz", sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" }
    nats      = { key = "nats.tar.gz", sha256 = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb" }
    collector = { key = "otelcol.tar.gz", sha256 = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc" }
  }
  secrets = {
    agent = {
      nats_seed        = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:agent-nats-AbCdEf"
      door_certificate = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:agent-crt-AbCdEf"
      door_key         = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:agent-key-AbCdEf"
    }
    gateway = {
      nats_seed   = "arn:aws:ssm:eu-west-1:123456789012:parameter/isthmus/gateway/nats"
      certificate = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:gateway-crt-AbCdEf"
      key         = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:gateway-key-AbCdEf"
    }
    nats = {
      certificate = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:nats-crt-AbCdEf"
      key         = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:nats-key-AbCdEf"
      authority   = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:nats-ca-AbCdEf"
    }
  }
  trust = {
    eu-west    = "arn:aws:ssm:eu-west-1:123456789012:parameter/isthmus/trust/eu-west"
    eu-central = "arn:aws:ssm:eu-west-1:123456789012:parameter/isthmus/trust/eu-central"
    us-east    = "arn:aws:ssm:eu-west-1:123456789012:parameter/isthmus/trust/us-east"
  }
  nats_nkeys = {
    operator = "UAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    agent    = "UBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"
    gateway  = "UCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC"
    system   = "UDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDD"
  }
  clients = {
    checkout = {
      tokens = ["sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]
      read   = ["*"]
      write  = ["carts"]
    }
  }
  client_cidrs   = ["10.1.0.0/16"]
  operator_cidrs = ["10.9.0.0/24"]
}

run "the_link_port_is_open_to_the_peers_alone" {
  assert {
    condition = toset([
      for rule in values(aws_vpc_security_group_ingress_rule.this) : rule.cidr_ipv4
      if rule.security_group_id == aws_security_group.this["gateway-load-balancer"].id
    ]) == toset(["198.51.100.20/32", "203.0.113.20/32", "203.0.113.21/32"])
    error_message = "Somebody else reaches the gateways' load balancer, or a peer does not."
  }
  assert {
    condition = [
      for rule in values(aws_vpc_security_group_ingress_rule.this) : rule.referenced_security_group_id
      if rule.security_group_id == aws_security_group.this["gateway"].id
    ] == [aws_security_group.this["gateway-load-balancer"].id]
    error_message = "Gateways are reached by something else than their load balancer."
  }
  assert {
    condition = alltrue([
      for rule in values(aws_vpc_security_group_ingress_rule.this) : rule.from_port == 7443 && rule.to_port == 7443
      if contains([for group in ["gateway", "gateway-load-balancer"] : aws_security_group.this[group].id], rule.security_group_id)
    ])
    error_message = "Gateways are reached at another port than that of links."
  }
  assert {
    condition = {
      for name, rule in aws_vpc_security_group_egress_rule.this : name => "${rule.cidr_ipv4}:${rule.to_port}" if startswith(name, "gateway-to-") && rule.to_port > 7000
    } == { gateway-to-eu-central-1 = "198.51.100.30/32:7443", gateway-to-us-east-1 = "203.0.113.30/32:7444" }
    error_message = "Gateways dial something else than their peers, each at its port."
  }
}

run "nats_is_for_agents_gateways_nats_and_operators" {
  assert {
    condition = toset([
      for rule in values(aws_vpc_security_group_ingress_rule.this) :
      "${rule.to_port} ${coalesce(rule.cidr_ipv4, rule.referenced_security_group_id)}"
      if rule.security_group_id == aws_security_group.this["nats"].id
      ]) == toset([
      "4222 ${aws_security_group.this["agent"].id}", "4222 ${aws_security_group.this["gateway"].id}",
      "6222 ${aws_security_group.this["nats"].id}", "4222 10.9.0.0/24"
    ])
    error_message = "NATS is open to others."
  }
}

run "the_door_is_for_clients" {
  variables {
    client_cidrs              = ["10.8.0.0/24"]
    client_security_group_ids = { shop = "sg-0123456789abcdef0" }
  }
  assert {
    condition = toset([
      for rule in values(aws_vpc_security_group_ingress_rule.this) :
      "${rule.to_port} ${coalesce(rule.cidr_ipv4, rule.referenced_security_group_id)}"
      if rule.security_group_id == aws_security_group.this["agent"].id
    ]) == toset(["7110 10.8.0.0/24", "7110 sg-0123456789abcdef0", "7110 ${aws_security_group.this["agent-load-balancer"].id}"])
    error_message = "The agents' door is open to others."
  }
}

run "nothing_is_open_to_everybody_and_nothing_but_https_goes_everywhere" {
  assert {
    condition     = alltrue([for rule in values(aws_vpc_security_group_ingress_rule.this) : rule.cidr_ipv4 != "0.0.0.0/0" && rule.cidr_ipv6 == null])
    error_message = "A port is open to the whole internet."
  }
  assert {
    condition = alltrue([
      for rule in values(aws_vpc_security_group_egress_rule.this) : rule.ip_protocol == "tcp" && rule.from_port == 443 && rule.to_port == 443
      if rule.cidr_ipv4 == "0.0.0.0/0"
    ])
    error_message = "Something but HTTPS goes everywhere."
  }
}

run "user_data_hold_no_secret_and_say_where_secrets_are" {
  assert {
    condition = alltrue([
      for text in values(output.user_data) : length(regexall("PRIVATE KEY|BEGIN CERTIFICATE|\\bS[UAON][A-Z2-7]{56}\\b", text)) == 0
    ])
    error_message = "User data hold a key, a certificate or a seed."
  }
  assert {
    condition = (
      aws_launch_template.this["agent"].user_data == base64gzip(output.user_data["agent"]) &&
      aws_launch_template.this["gateway"].user_data == base64gzip(output.user_data["gateway"]) &&
      aws_instance.nats["eu-west-1b"].user_data_base64 == base64gzip(output.user_data["nats-2"])
    )
    error_message = "Instances begin with something else than the output says."
  }
  assert {
    condition     = alltrue([for arn in values(var.secrets.agent) : arn == null ? true : strcontains(output.user_data["agent"], arn)])
    error_message = "An agent does not know where its secrets are."
  }
  assert {
    condition     = alltrue([for arn in values(var.secrets.gateway) : arn == null ? true : !strcontains(output.user_data["agent"], arn)])
    error_message = "An agent knows where the gateway's secrets are."
  }
}

run "a_role_may_read_its_own_secrets_alone" {
  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_iam_role_policy.this["agent"].policy).Statement : statement.Resource if statement.Sid == "Secrets"
    ])) == toset(concat(compact(values(var.secrets.agent)), [var.secrets.nats.authority]))
    error_message = "Agents may read other secrets than theirs."
  }
  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_iam_role_policy.this["gateway"].policy).Statement : statement.Resource
      if contains(["Secrets", "Parameters"], statement.Sid)
    ])) == toset(concat(compact(values(var.secrets.gateway)), values(var.trust), [var.secrets.nats.authority]))
    error_message = "Gateways may read other secrets than theirs."
  }
  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_iam_role_policy.this["nats"].policy).Statement : statement.Resource
      if contains(["Secrets", "Parameters"], statement.Sid)
    ])) == toset(values(var.secrets.nats))
    error_message = "NATS servers may read other secrets than theirs."
  }
  assert {
    condition = alltrue(flatten([
      for policy in values(aws_iam_role_policy.this) : [
        for statement in jsondecode(policy.policy).Statement : statement.Sid == "Sessions" || !contains(statement.Resource, "*")
      ]
    ]))
    error_message = "A right has no bound."
  }
  assert {
    condition = alltrue(flatten([
      for policy in values(aws_iam_role_policy.this) : [
        for statement in jsondecode(policy.policy).Statement : [for action in statement.Action : !strcontains(action, "*")]
      ]
    ]))
    error_message = "A right names no action."
  }
  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_iam_role_policy.this["nats"].policy).Statement : statement.Resource if statement.Sid == "Archives"
    ])) == toset(["arn:aws:s3:::shop-archives/nats.tar.gz"])
    error_message = "NATS servers read other archives than theirs."
  }
}

run "a_process_takes_one_of_the_names_that_the_operator_made_consumers_for" {
  assert {
    condition = output.process_names == concat(
      ["agent-1", "agent-2", "agent-3", "agent-4", "agent-5", "agent-6"],
      ["gateway-1", "gateway-2", "gateway-3", "gateway-4"]
    )
    error_message = "The names are others."
  }
  assert {
    condition = {
      for role in ["agent", "gateway"] : role => [
        for statement in jsondecode(aws_iam_role_policy.this[role].policy).Statement :
        length(statement.Condition["ForAllValues:StringEquals"]["dynamodb:LeadingKeys"]) if statement.Sid == "Names"
      ]
    } == { agent = [6], gateway = [4] }
    error_message = "A role may take the names of another."
  }
  assert {
    condition     = { for role, group in aws_autoscaling_group.this : role => group.max_size } == { agent = 6, gateway = 4 }
    error_message = "There may be more processes than names."
  }
}

run "sessions_can_be_left_out" {
  variables {
    session_manager = false
  }
  assert {
    condition = alltrue(flatten([
      for policy in values(aws_iam_role_policy.this) : [for statement in jsondecode(policy.policy).Statement : statement.Sid != "Sessions"]
    ]))
    error_message = "Sessions can be opened."
  }
}

run "a_refresh_replaces_one_by_one_and_lets_a_process_drain" {
  variables {
    drain_seconds = 40
  }
  assert {
    condition = alltrue([
      for group in values(aws_autoscaling_group.this) : group.instance_refresh[0].preferences[0].min_healthy_percentage == 100 &&
      group.instance_refresh[0].preferences[0].auto_rollback && group.instance_refresh[0].strategy == "Rolling"
    ])
    error_message = "A refresh takes a process away before another is ready."
  }
  assert {
    condition = alltrue([
      for group in values(aws_autoscaling_group.this) : {
        for hook in group.initial_lifecycle_hook : hook.name => [hook.lifecycle_transition, hook.default_result]
        } == {
        ready = ["autoscaling:EC2_INSTANCE_LAUNCHING", "ABANDON"]
        drain = ["autoscaling:EC2_INSTANCE_TERMINATING", "CONTINUE"]
      }
    ])
    error_message = "An instance is let in before it is ready, or ended before it has drained."
  }
  assert {
    condition = (
      output.files["gateway"]["/etc/systemd/system/isthmus-gateway.service.d/region.conf"] == "[Service]\nEnvironmentFile=/etc/isthmus/name.env\nTimeoutStopSec=45\n" &&
      output.files["agent"]["/etc/systemd/system/isthmus-region-agent.service.d/region.conf"] == "[Service]\nEnvironmentFile=/etc/isthmus/name.env\nTimeoutStopSec=45\n" &&
      yamldecode(output.files["gateway"]["/etc/isthmus/gateway.yaml"]).drain == "40s"
    )
    error_message = "systemd ends a process before it has drained."
  }
  assert {
    condition     = aws_lb_target_group.gateway.deregistration_delay == "40"
    error_message = "The load balancer does not wait for the drain."
  }
  assert {
    condition     = alltrue([for group in values(aws_autoscaling_group.this) : group.launch_template[0].version == "3"])
    error_message = "A group starts whatever is newest: a refresh could not go back."
  }
}

run "metadata_and_disks_are_closed" {
  assert {
    condition = alltrue([
      for options in concat(
        [for template in values(aws_launch_template.this) : template.metadata_options[0]],
        [for instance in values(aws_instance.nats) : instance.metadata_options[0]]
      ) : options.http_tokens == "required" && options.http_put_response_hop_limit == 1
    ])
    error_message = "Metadata are served without a token, or further than the instance."
  }
  assert {
    condition = (
      alltrue([for template in values(aws_launch_template.this) : template.block_device_mappings[0].ebs[0].encrypted == "true"]) &&
      alltrue([for instance in values(aws_instance.nats) : instance.root_block_device[0].encrypted]) &&
      alltrue([for volume in values(aws_ebs_volume.nats) : volume.encrypted])
    )
    error_message = "A disk is not encrypted."
  }
}

run "nats_is_three_servers_that_keep_their_names_and_data" {
  assert {
    condition = (
      toset([for volume in values(aws_ebs_volume.nats) : volume.availability_zone]) == toset(["eu-west-1a", "eu-west-1b", "eu-west-1c"]) &&
      alltrue([for volume in values(aws_ebs_volume.nats) : volume.type == "gp3" && volume.final_snapshot])
    )
    error_message = "There is no volume of its own in each zone."
  }
  assert {
    condition = alltrue([
      for zone, attachment in aws_volume_attachment.nats :
      attachment.stop_instance_before_detaching && attachment.volume_id == aws_ebs_volume.nats[zone].id
    ])
    error_message = "A volume is taken from a server that writes."
  }
  assert {
    condition     = [for zone in ["eu-west-1a", "eu-west-1b", "eu-west-1c"] : aws_route53_record.nats[zone].name] == ["nats-1.eu-west.shop.internal", "nats-2.eu-west.shop.internal", "nats-3.eu-west.shop.internal"]
    error_message = "The servers have other names."
  }
  assert {
    condition     = strcontains(output.files["nats-1"]["/etc/nats/nats.conf"], "sync_interval: always")
    error_message = "Acknowledged writes are not on disk."
  }
  assert {
    condition     = strcontains(output.files["nats-2"]["/etc/nats/nats.conf"], "routes: [\"nats://nats-1.eu-west.shop.internal:6222\",\"nats://nats-3.eu-west.shop.internal:6222\"]")
    error_message = "A server does not look for the two others."
  }
  assert {
    condition     = strcontains(output.files["nats-1"]["/etc/nats/nats.conf"], "max_file_store: 152GB")
    error_message = "The limit of the server is not below its volume."
  }
}

run "nats_servers_speak_tls_and_agents_and_gateways_know_whom_to_trust" {
  variables {
    secrets = merge(var.secrets, {
      agent = merge(var.secrets.agent, {
        door_client_authorities = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:clients-AbCdEf"
        door_clients_revoked    = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:revoked-clients-AbCdEf"
      })
      gateway = merge(var.secrets.gateway, { revoked = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:revoked-AbCdEf" })
    })
  }
  assert {
    condition = alltrue([
      for file in [output.files["agent"]["/etc/isthmus/region-agent.yaml"], output.files["gateway"]["/etc/isthmus/gateway.yaml"]] :
      yamldecode(file).nats.ca == "nats/ca.pem"
    ])
    error_message = "A process trusts any NATS server."
  }
  assert {
    condition     = length(regexall("(?m)^ *tls \\{", output.files["nats-1"]["/etc/nats/nats.conf"])) == 2
    error_message = "A port of NATS is without TLS."
  }
  assert {
    condition     = strcontains(output.files["nats-1"]["/etc/nats/nats.conf"], "verify: true")
    error_message = "The servers take each other's word."
  }
  assert {
    condition = alltrue([
      for file in ["nats.crt", "nats.key", "authority.pem"] :
      strcontains(output.files["nats-1"]["/etc/nats/nats.conf"], "_file: /etc/nats/tls/${file}")
    ])
    error_message = "nats-server looks for its TLS where it was started."
  }
  assert {
    condition     = strcontains(output.user_data["nats-1"], "arn:aws:secretsmanager:eu-west-1:123456789012:secret:nats-key-AbCdEf tls/nats.key")
    error_message = "A server does not know where its key is."
  }
  assert {
    condition     = yamldecode(output.files["gateway"]["/etc/isthmus/gateway.yaml"]).link.revoked == "tls/revoked.txt"
    error_message = "Nothing is revoked."
  }
  assert {
    condition     = yamldecode(output.files["agent"]["/etc/isthmus/region-agent.yaml"]).tls.revoked == "tls/revoked-clients.txt"
    error_message = "No client's certificate is revoked."
  }
}

run "processes_are_told_what_the_region_is" {
  assert {
    condition = yamldecode(output.files["agent"]["/etc/isthmus/region-agent.yaml"]) == {
      set    = "set.yaml"
      region = "eu-west"
      nats = {
        servers = [
          "nats://nats-1.eu-west.shop.internal:4222", "nats://nats-2.eu-west.shop.internal:4222",
          "nats://nats-3.eu-west.shop.internal:4222"
        ]
        credentials = "nats/agent.nk"
        ca          = "nats/ca.pem"
        domain      = "eu-west"
      }
      listen = "0.0.0.0:7110"
      tls    = { certificate = "tls/agent.crt", key = "tls/agent.key" }
      clients = {
        checkout = {
          tokens = ["sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]
          read   = ["*"]
          write  = ["carts"]
        }
      }
      admin     = { listen = "127.0.0.1:7111" }
      data      = "/var/lib/isthmus"
      log       = { create = false, replicas = 3, max_bytes = "16GiB", retention = "8GiB" }
      memory    = { soft = "12GiB", hard = "14GiB" }
      telemetry = { log = "info", log_format = "json", clients_may_sample = false, show_keys = false }
      drain     = "10s"
    }
    error_message = "region-agent.yaml says something else."
  }
  assert {
    condition = yamldecode(output.files["gateway"]["/etc/isthmus/gateway.yaml"]).link == {
      listen = "0.0.0.0:7443", certificate = "tls/gateway.crt", key = "tls/gateway.key"
    }
    error_message = "The link of gateway.yaml is another."
  }
  assert {
    condition     = yamldecode(output.files["gateway"]["/etc/isthmus/gateway.yaml"]).admin.listen == "127.0.0.1:7115"
    error_message = "The admin listener is reached from other machines."
  }
  assert {
    condition     = alltrue([for role in ["agent", "gateway"] : output.files[role]["/etc/isthmus/set.yaml"] == var.set_yaml])
    error_message = "set.yaml has other bytes."
  }
}

run "there_is_a_collector_where_one_is_asked_for" {
  variables {
    collector = { traces = "traces.example.org:4317", traces_cidrs = ["10.7.0.0/24"], metrics = "https://metrics.example.org/api/v1/write" }
  }
  assert {
    condition = (
      yamldecode(output.files["gateway"]["/etc/otelcol/collector.yaml"]).receivers.prometheus.config.scrape_configs[0].static_configs[0] ==
      { targets = ["127.0.0.1:7115"], labels = { region = "eu-west" } } &&
      yamldecode(output.files["gateway"]["/etc/otelcol/collector.yaml"]).exporters["otlp/traces"].endpoint == "traces.example.org:4317" &&
      yamldecode(output.files["agent"]["/etc/isthmus/region-agent.yaml"]).telemetry.otlp.endpoint == "http://127.0.0.1:4317"
    )
    error_message = "The collector does not stand between the process and the receivers."
  }
  assert {
    condition     = aws_vpc_security_group_egress_rule.this["agent-to-traces-10.7.0.0/24"].to_port == 4317
    error_message = "Traces do not get out."
  }
  assert {
    condition     = strcontains(aws_iam_role_policy.this["agent"].policy, "otelcol.tar.gz")
    error_message = "The archive of the collector can't be fetched."
  }
}

run "without_one_there_is_no_trace_of_a_collector" {
  assert {
    condition     = !strcontains(output.user_data["agent"], "otelcol.service") && !strcontains(aws_iam_role_policy.this["agent"].policy, "otelcol")
    error_message = "There is a collector."
  }
}

run "secrets_are_looked_for_again" {
  variables {
    secrets_interval_minutes = 2
  }
  assert {
    condition     = alltrue([for files in values(output.files) : strcontains(files["/etc/systemd/system/isthmus-secrets.timer"], "OnUnitActiveSec=2min")])
    error_message = "A rotated secret is not taken up."
  }
}

run "links_pass_through_the_load_balancer_on_the_internet" {
  assert {
    condition = (
      aws_lb_listener.gateway.protocol == "TCP" && aws_lb_listener.gateway.port == 7443 &&
      aws_lb_target_group.gateway.protocol == "TCP" && aws_lb_target_group.gateway.health_check[0].protocol == "TCP" &&
      aws_lb.gateway.load_balancer_type == "network" && !aws_lb.gateway.internal && aws_lb.agent[0].internal
    )
    error_message = "TLS ends before the gateways, or agents are on the internet."
  }
  assert {
    condition     = toset(concat(output.peer.dials_from, output.peer.listens_on)) == toset(["198.51.100.7/32"]) && output.peer.port == 7443
    error_message = "The others are told other addresses than those of the zones."
  }
}

run "a_private_region_has_no_public_address_for_links" {
  variables {
    gateway_exposure = "private"
  }
  assert {
    condition     = aws_lb.gateway.internal && length(aws_eip.gateway) == 0 && toset(concat(output.peer.dials_from, output.peer.listens_on)) == toset(["10.1.0.0/16"])
    error_message = "The gateways are on the internet."
  }
}

run "the_name_of_the_gateways_is_made_where_the_zone_is_given" {
  variables {
    gateway_zone_id = "Z0123456789ABC"
  }
  assert {
    condition     = aws_route53_record.gateway[0].name == "gw.eu-west.example.org" && aws_route53_record.gateway[0].zone_id == "Z0123456789ABC"
    error_message = "The name leads nowhere."
  }
}

run "a_network_that_is_there_is_used" {
  variables {
    new_network      = null
    gateway_exposure = "private"
    existing_network = {
      vpc_id = "vpc-0123456789abcdef0"
      cidr   = "10.1.0.0/16"
      subnets = {
        eu-west-1a = { private = "subnet-0123456789abcdef1" }
        eu-west-1b = { private = "subnet-0123456789abcdef2" }
        eu-west-1c = { private = "subnet-0123456789abcdef3" }
      }
    }
  }
  assert {
    condition = (
      length(aws_vpc.this) == 0 && length(aws_subnet.private) == 0 && length(aws_nat_gateway.this) == 0 &&
      toset(aws_autoscaling_group.this["gateway"].vpc_zone_identifier) ==
      toset(["subnet-0123456789abcdef1", "subnet-0123456789abcdef2", "subnet-0123456789abcdef3"])
    )
    error_message = "A network was made beside the one that is there."
  }
}
