output "set_yaml" {
  description = "set.yaml, the same bytes in every region."
  value       = module.set.set_yaml
}

output "peers" {
  description = "What each region shares with the others."
  value       = local.peer
}

output "gateway_load_balancers" {
  description = "Where the names of the gateways have to point."
  value = {
    eu-west    = module.eu_west.gateway_load_balancer
    eu-central = module.eu_central.gateway_load_balancer
    us-east    = module.us_east.gateway_load_balancer
  }
}

output "agents_urls" {
  description = "Where applications reach each region, within its network."
  value = {
    eu-west    = module.eu_west.agents_url
    eu-central = module.eu_central.agents_url
    us-east    = module.us_east.agents_url
  }
}

output "nats_servers" {
  description = "For isthmus region init, by region."
  value = {
    eu-west    = module.eu_west.nats_servers
    eu-central = module.eu_central.nats_servers
    us-east    = module.us_east.nats_servers
  }
}

output "files" {
  description = "The files that instances begin with, by region, instance and path. They hold no secret."
  value = {
    eu-west    = module.eu_west.files
    eu-central = module.eu_central.files
    us-east    = module.us_east.files
  }
}

output "process_names" {
  description = "For isthmus region init --process, the same in every region of this example."
  value       = module.eu_west.process_names
}
