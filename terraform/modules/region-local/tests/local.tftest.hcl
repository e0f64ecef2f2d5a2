# Plans alone: no process is started. tests/acceptance/18-terraform.sh starts them.

variables {
  folder    = "/var/lib/regions"
  regions   = ["eu-west", "us-east"]
  port_base = 9000
}

run "doors_and_pages_are_where_isthmus_up_puts_them" {
  command = plan

  assert {
    condition = output.doors == {
      eu-west = ["http://127.0.0.1:9010", "http://127.0.0.1:9012"]
      us-east = ["http://127.0.0.1:9030", "http://127.0.0.1:9032"]
    }
    error_message = "The doors are elsewhere."
  }
  assert {
    condition     = output.gateway_pages.us-east == ["http://127.0.0.1:9035/", "http://127.0.0.1:9037/"]
    error_message = "The pages are elsewhere."
  }
  assert {
    condition     = output.folder == "/var/lib/regions/set"
    error_message = "The folder is another."
  }
}

run "refused_a_relative_folder" {
  command = plan
  variables {
    folder = "regions"
  }
  expect_failures = [var.folder]
}

run "refused_a_folder_with_a_space" {
  command = plan
  variables {
    folder = "/var/lib/my regions"
  }
  expect_failures = [var.folder]
}

run "refused_no_region" {
  command = plan
  variables {
    regions = []
  }
  expect_failures = [var.regions]
}

run "refused_a_region_twice" {
  command = plan
  variables {
    regions = ["eu-west", "eu-west"]
  }
  expect_failures = [var.regions]
}

run "refused_a_region_with_capitals" {
  command = plan
  variables {
    regions = ["EU"]
  }
  expect_failures = [var.regions]
}

run "refused_a_set_with_a_dot" {
  command = plan
  variables {
    set = "shop.dev"
  }
  expect_failures = [var.set]
}

run "refused_a_port_below_1024" {
  command = plan
  variables {
    port_base = 80
  }
  expect_failures = [var.port_base]
}

run "refused_ports_without_room" {
  command = plan
  variables {
    port_base = 64990
  }
  expect_failures = [var.port_base]
}

run "refused_a_round_trip_without_a_unit" {
  command = plan
  variables {
    round_trip = "80"
  }
  expect_failures = [var.round_trip]
}

run "refused_a_program_with_arguments" {
  command = plan
  variables {
    isthmus = "isthmus; true"
  }
  expect_failures = [var.isthmus]
}

run "refused_no_time" {
  command = plan
  variables {
    ready_seconds = 0
  }
  expect_failures = [var.ready_seconds]
}
