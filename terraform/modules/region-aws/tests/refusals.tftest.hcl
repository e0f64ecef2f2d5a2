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

run "refused_a_region_that_set_yaml_does_not_name" {
  command = plan
  variables {
    region = "mars"
  }
  expect_failures = [var.set_yaml]
}

run "refused_text_that_is_no_set_yaml" {
  command = plan
  variables {
    set_yaml = "nothing"
  }
  expect_failures = [var.set_yaml]
}

run "refused_trust_outside_the_folder" {
  command = plan
  variables {
    set_yaml = "{regions: {eu-west: {trust: ../x.pem}, eu-central: {trust: a.pem}, us-east: {trust: b.pem}}, set: shop}"
  }
  expect_failures = [var.set_yaml]
}

run "refused_a_peer_that_is_missing" {
  command = plan
  variables {
    peers = { us-east = { dials_from = ["203.0.113.20/32"], listens_on = ["203.0.113.30/32"] } }
  }
  expect_failures = [var.peers]
}

run "refused_a_peer_that_dials_from_everywhere" {
  command = plan
  variables {
    peers = {
      us-east    = { dials_from = ["0.0.0.0/0"], listens_on = ["203.0.113.30/32"] }
      eu-central = { dials_from = ["203.0.113.21/32"], listens_on = ["203.0.113.31/32"] }
    }
  }
  expect_failures = [var.peers]
}

run "refused_a_peer_without_an_address" {
  command = plan
  variables {
    peers = {
      us-east    = { dials_from = ["gw.example.org"], listens_on = ["203.0.113.30/32"] }
      eu-central = { dials_from = ["203.0.113.21/32"], listens_on = ["203.0.113.31/32"] }
    }
  }
  expect_failures = [var.peers]
}

run "refused_two_zones" {
  command = plan
  variables {
    new_network = { cidr = "10.1.0.0/16", zones = ["eu-west-1a", "eu-west-1b"] }
  }
  expect_failures = [var.new_network]
}

run "refused_a_zone_twice" {
  command = plan
  variables {
    new_network = { cidr = "10.1.0.0/16", zones = ["eu-west-1a", "eu-west-1a", "eu-west-1b"] }
  }
  expect_failures = [var.new_network]
}

run "refused_a_network_that_is_too_small" {
  command = plan
  variables {
    new_network = { cidr = "10.1.0.0/24", zones = ["eu-west-1a", "eu-west-1b", "eu-west-1c"] }
  }
  expect_failures = [var.new_network]
}

run "refused_two_networks" {
  command = plan
  variables {
    gateway_exposure = "private"
    existing_network = {
      vpc_id  = "vpc-1"
      cidr    = "10.1.0.0/16"
      subnets = { z0 = { private = "subnet-0" }, z1 = { private = "subnet-1" }, z2 = { private = "subnet-2" } }
    }
  }
  expect_failures = [var.new_network]
}

run "refused_an_existing_network_of_two_zones" {
  command = plan
  variables {
    new_network      = null
    gateway_exposure = "private"
    existing_network = {
      vpc_id  = "vpc-1"
      cidr    = "10.1.0.0/16"
      subnets = { z0 = { private = "subnet-0" }, z1 = { private = "subnet-1" } }
    }
  }
  expect_failures = [var.existing_network]
}

run "refused_the_internet_without_public_subnets" {
  command = plan
  variables {
    new_network = null
    existing_network = {
      vpc_id  = "vpc-1"
      cidr    = "10.1.0.0/16"
      subnets = { z0 = { private = "subnet-0" }, z1 = { private = "subnet-1" }, z2 = { private = "subnet-2" } }
    }
  }
  expect_failures = [var.existing_network]
}

run "refused_an_exposure_that_does_not_exist" {
  command = plan
  variables {
    gateway_exposure = "both"
  }
  expect_failures = [var.gateway_exposure]
}

run "refused_a_name_with_a_dot_at_its_end" {
  command = plan
  variables {
    gateway_name = "gw.example.org."
  }
  expect_failures = [var.gateway_name]
}

run "refused_a_link_port_below_1024" {
  command = plan
  variables {
    link_port = 443
  }
  expect_failures = [var.link_port]
}

run "refused_an_image_that_is_none" {
  command = plan
  variables {
    ami = "latest"
  }
  expect_failures = [var.ami]
}

run "refused_a_hash_that_is_too_short" {
  command = plan
  variables {
    artifacts = {
      bucket  = "shop-archives"
      isthmus = { key = "a", sha256 = "abc" }
      nats    = { key = "b", sha256 = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb" }
    }
  }
  expect_failures = [var.artifacts]
}

run "refused_a_key_with_a_quote" {
  command = plan
  variables {
    artifacts = {
      bucket  = "shop-archives"
      isthmus = { key = "a'b", sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" }
      nats    = { key = "b", sha256 = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb" }
    }
  }
  expect_failures = [var.artifacts]
}

run "refused_a_secret_itself" {
  command = plan
  variables {
    secrets = merge(var.secrets, { agent = merge(var.secrets.agent, { nats_seed = "SUAEXAMPLE" }) })
  }
  expect_failures = [var.secrets]
}

run "refused_a_pattern_of_secrets" {
  command = plan
  variables {
    secrets = merge(var.secrets, { agent = merge(var.secrets.agent, { nats_seed = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:*" }) })
  }
  expect_failures = [var.secrets]
}

run "refused_revoked_certificates_without_an_authority" {
  command = plan
  variables {
    secrets = merge(var.secrets, { agent = merge(var.secrets.agent, { door_clients_revoked = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:r" }) })
  }
  expect_failures = [var.secrets]
}

run "refused_a_secret_that_agents_and_gateways_share" {
  command = plan
  variables {
    secrets = merge(var.secrets, { gateway = merge(var.secrets.gateway, { key = var.secrets.agent.door_key }) })
  }
  expect_failures = [var.secrets]
}

run "refused_a_secret_that_gateways_and_nats_servers_share" {
  command = plan
  variables {
    secrets = merge(var.secrets, { nats = merge(var.secrets.nats, { key = var.secrets.gateway.key }) })
  }
  expect_failures = [var.secrets]
}

run "refused_trust_that_is_missing" {
  command = plan
  variables {
    trust = { eu-west = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:a" }
  }
  expect_failures = [var.trust]
}

run "refused_the_seed_of_an_nkey" {
  command = plan
  variables {
    nats_nkeys = { operator = "SUAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", agent = "UBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB", gateway = "UCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC", system = "UDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDD" }
  }
  expect_failures = [var.nats_nkeys]
}

run "refused_an_nkey_twice" {
  command = plan
  variables {
    nats_nkeys = { operator = "UBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB", agent = "UBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB", gateway = "UCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC", system = "UDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDD" }
  }
  expect_failures = [var.nats_nkeys]
}

run "refused_a_volume_that_is_no_volume" {
  command = plan
  variables {
    nats = { volume_gib = 1 }
  }
  expect_failures = [var.nats]
}

run "refused_a_volume_below_what_the_log_may_take" {
  command = plan
  variables {
    nats = { volume_gib = 80 }
  }
  expect_failures = [aws_instance.nats]
}

run "refused_a_retention_above_the_log" {
  command = plan
  variables {
    log = { max_gib = 4, retention_gib = 8 }
  }
  expect_failures = [var.log]
}

run "refused_one_agent" {
  command = plan
  variables {
    agents = { count = 1 }
  }
  expect_failures = [var.agents]
}

run "refused_memory_without_a_unit" {
  command = plan
  variables {
    agents = { memory_soft = "12" }
  }
  expect_failures = [var.agents]
}

run "refused_one_gateway" {
  command = plan
  variables {
    gateways = { count = 1 }
  }
  expect_failures = [var.gateways]
}

run "refused_no_client" {
  command = plan
  variables {
    clients = {}
  }
  expect_failures = [var.clients]
}

run "refused_a_token_that_is_no_hash" {
  command = plan
  variables {
    clients = { checkout = { tokens = ["hunter2"] } }
  }
  expect_failures = [var.clients]
}

run "refused_a_client_without_proof" {
  command = plan
  variables {
    clients = { checkout = { read = ["*"] } }
  }
  expect_failures = [var.clients]
}

run "refused_a_client_with_a_certificate_that_nobody_vouches_for" {
  command = plan
  variables {
    clients = { checkout = { certificates = ["spiffe://example.org/checkout"] } }
  }
  expect_failures = [var.clients]
}

run "refused_clients_from_everywhere" {
  command = plan
  variables {
    client_cidrs = ["0.0.0.0/0"]
  }
  expect_failures = [var.client_cidrs]
}

run "refused_operators_from_everywhere" {
  command = plan
  variables {
    operator_cidrs = ["0.0.0.0/0"]
  }
  expect_failures = [var.operator_cidrs]
}

run "refused_no_way_out" {
  command = plan
  variables {
    https_cidrs = []
  }
  expect_failures = [var.https_cidrs]
}

run "refused_a_collector_without_its_archive" {
  command = plan
  variables {
    artifacts = {
      bucket  = "shop-archives"
      isthmus = { key = "a", sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" }
      nats    = { key = "b", sha256 = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb" }
    }
    collector = { traces = "a.example.org:4317", traces_cidrs = [], metrics = "https://b.example.org/write" }
  }
  expect_failures = [var.collector]
}

run "refused_a_password_in_the_address_of_metrics" {
  command = plan
  variables {
    collector = { traces = "a.example.org:4317", traces_cidrs = [], metrics = "https://me:secret@b.example.org/write" }
  }
  expect_failures = [var.collector]
}

run "refused_a_ratio_above_1" {
  command = plan
  variables {
    trace_ratio = 2
  }
  expect_failures = [var.trace_ratio]
}

run "refused_no_time_to_drain" {
  command = plan
  variables {
    drain_seconds = 0
  }
  expect_failures = [var.drain_seconds]
}

run "refused_no_interval" {
  command = plan
  variables {
    secrets_interval_minutes = 0
  }
  expect_failures = [var.secrets_interval_minutes]
}

run "refused_a_key_that_is_no_arn" {
  command = plan
  variables {
    volume_kms_key_arn = "alias/ebs"
  }
  expect_failures = [var.volume_kms_key_arn]
}

run "refused_a_key_of_secrets_that_is_no_arn" {
  command = plan
  variables {
    secrets_kms_key_arns = ["*"]
  }
  expect_failures = [var.secrets_kms_key_arns]
}
