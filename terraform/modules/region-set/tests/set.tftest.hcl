variables {
  set = {
    name         = "shop"
    generation   = 7
    trust_domain = "example.org"
    groups = {
      default = { partitions = 4 }
      eu-only = { partitions = 1, regions = ["eu-west", "eu-central"] }
    }
    buckets = {
      "*"      = { group = "default", kind = "value", max_value = "256KiB", unknown = "refuse" }
      sessions = { ttl = "12h" }
      carts    = { max_value = "512KiB" }
      accounts = { group = "eu-only" }
    }
    clock         = { max_ahead = "500ms", max_behind = "10s", max_offset = "2s" }
    membership    = { max_offline = "72h" }
    lag_objective = "2s"
  }
  regions = {
    eu-west    = { cidr = "10.1.0.0/16" }
    eu-central = { cidr = "10.2.0.0/16", gateways = ["srv:_isthmus._tcp.eu-central.example.org"] }
    us-east    = { cidr = "10.3.0.0/16", gateway_port = 7444, identity = "spiffe://us.example.org/isthmus/shop/gateway" }
  }
  gateway_domain = "example.org"
}

run "the_file_is_what_was_given_and_the_same_for_every_region" {
  command = plan

  assert {
    condition = yamldecode(output.set_yaml) == {
      set          = "shop"
      generation   = 7
      trust_domain = "example.org"
      regions = {
        eu-west    = { gateways = ["dns:gw.eu-west.example.org:7443"], trust = "trust/eu-west.pem" }
        eu-central = { gateways = ["srv:_isthmus._tcp.eu-central.example.org"], trust = "trust/eu-central.pem" }
        us-east = {
          gateways = ["dns:gw.us-east.example.org:7444"]
          trust    = "trust/us-east.pem"
          identity = "spiffe://us.example.org/isthmus/shop/gateway"
        }
      }
      groups = {
        default = { partitions = 4 }
        eu-only = { partitions = 1, regions = ["eu-west", "eu-central"] }
      }
      buckets = {
        "*"      = { group = "default", kind = "value", max_value = "256KiB", unknown = "refuse" }
        sessions = { ttl = "12h" }
        carts    = { max_value = "512KiB" }
        accounts = { group = "eu-only" }
      }
      clock         = { max_ahead = "500ms", max_behind = "10s", max_offset = "2s" }
      membership    = { max_offline = "72h" }
      lag_objective = "2s"
    }
    error_message = "set.yaml says something else."
  }
  assert {
    condition     = alltrue([for region in values(output.regions) : region.set_yaml == output.set_yaml])
    error_message = "A region has other bytes."
  }
  assert {
    condition     = output.regions["eu-west"].peers == ["eu-central", "us-east"]
    error_message = "The peers of a region are all others."
  }
  assert {
    condition     = output.regions["us-east"].gateway_name == "gw.us-east.example.org"
    error_message = "The name of a region's gateways is made of the region and the domain."
  }
}

run "what_is_not_given_is_left_out" {
  command = plan
  variables {
    set     = { name = "shop", generation = 1 }
    regions = { eu-west = { cidr = "10.1.0.0/16" } }
  }
  assert {
    condition     = keys(yamldecode(output.set_yaml)) == ["generation", "regions", "set", "trust_domain"]
    error_message = "set.yaml has keys that nobody gave."
  }
}

run "networks_that_touch_do_not_overlap" {
  command = plan
  variables {
    set     = { name = "shop", generation = 1 }
    regions = { eu-west = { cidr = "10.0.0.0/17" }, us-east = { cidr = "10.0.128.0/17" } }
  }
}

run "a_network_within_another_is_refused" {
  command = plan
  variables {
    set     = { name = "shop", generation = 1 }
    regions = { eu-west = { cidr = "10.0.0.0/8" }, us-east = { cidr = "10.3.0.0/16" } }
  }
  expect_failures = [var.regions]
}

run "the_same_network_twice_is_refused" {
  command = plan
  variables {
    set     = { name = "shop", generation = 1 }
    regions = { eu-west = { cidr = "10.3.0.0/16" }, us-east = { cidr = "10.3.0.0/16" } }
  }
  expect_failures = [var.regions]
}

run "an_address_within_a_network_is_no_network" {
  command = plan
  variables {
    set     = { name = "shop", generation = 1 }
    regions = { eu-west = { cidr = "10.3.1.0/16" } }
  }
  expect_failures = [var.regions]
}

run "a_region_name_with_capitals_is_refused" {
  command = plan
  variables {
    set     = { name = "shop", generation = 1 }
    regions = { EU = { cidr = "10.3.0.0/16" } }
  }
  expect_failures = [var.regions]
}

run "a_set_without_regions_is_refused" {
  command = plan
  variables {
    set     = { name = "shop", generation = 1 }
    regions = {}
  }
  expect_failures = [var.regions]
}

run "a_port_out_of_range_is_refused" {
  command = plan
  variables {
    set     = { name = "shop", generation = 1 }
    regions = { eu-west = { cidr = "10.3.0.0/16", gateway_port = 70000 } }
  }
  expect_failures = [var.regions]
}

run "an_address_without_a_port_is_refused" {
  command = plan
  variables {
    set     = { name = "shop", generation = 1 }
    regions = { eu-west = { cidr = "10.3.0.0/16", gateways = ["gw.example.org"] } }
  }
  expect_failures = [var.regions]
}

run "trust_outside_the_folder_is_refused" {
  command = plan
  variables {
    set     = { name = "shop", generation = 1 }
    regions = { eu-west = { cidr = "10.3.0.0/16", trust = "../eu-west.pem" } }
  }
  expect_failures = [var.regions]
}

run "an_identity_twice_is_refused" {
  command = plan
  variables {
    set     = { name = "shop", generation = 1 }
    regions = { a = { cidr = "10.3.0.0/16", identity = "spiffe://x/y" }, b = { cidr = "10.4.0.0/16", identity = "spiffe://x/y" } }
  }
  expect_failures = [var.regions]
}

run "a_set_name_that_is_too_long_is_refused" {
  command = plan
  variables {
    set = { name = "a23456789012345678901234567890123", generation = 1 }
  }
  expect_failures = [var.set]
}

run "generation_0_is_refused" {
  command = plan
  variables {
    set = { name = "shop", generation = 0 }
  }
  expect_failures = [var.set]
}

run "a_group_of_a_strange_region_is_refused" {
  command = plan
  variables {
    set = { name = "shop", generation = 1, groups = { eu = { regions = ["mars"] } } }
  }
  expect_failures = [var.set]
}

run "a_group_without_partitions_is_refused" {
  command = plan
  variables {
    set = { name = "shop", generation = 1, groups = { eu = { partitions = 0 } } }
  }
  expect_failures = [var.set]
}

run "a_bucket_in_no_group_is_refused" {
  command = plan
  variables {
    set = { name = "shop", generation = 1, buckets = { carts = { group = "eu" } } }
  }
  expect_failures = [var.set]
}

run "unknown_under_a_bucket_is_refused" {
  command = plan
  variables {
    set = { name = "shop", generation = 1, buckets = { carts = { unknown = "refuse" } } }
  }
  expect_failures = [var.set]
}

run "a_time_without_unit_is_refused" {
  command = plan
  variables {
    set = { name = "shop", generation = 1, buckets = { carts = { ttl = "12" } } }
  }
  expect_failures = [var.set]
}

run "a_size_without_unit_is_refused" {
  command = plan
  variables {
    set = { name = "shop", generation = 1, buckets = { carts = { max_value = "65536" } } }
  }
  expect_failures = [var.set]
}

run "a_domain_with_a_dot_at_its_end_is_refused" {
  command = plan
  variables {
    gateway_domain = "example.org."
  }
  expect_failures = [var.gateway_domain]
}
