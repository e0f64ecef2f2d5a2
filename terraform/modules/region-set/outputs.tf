output "set_yaml" {
  description = "The text of set.yaml: the same bytes for every region."
  value       = local.set_yaml
}

output "regions" {
  description = "For each region what the module region-aws needs from the set, and the names of the other regions."
  value = {
    for name, region in var.regions : name => {
      region       = name
      cidr         = region.cidr
      gateway_name = local.gateway_names[name]
      gateway_port = region.gateway_port
      peers        = local.peers[name]
      set_yaml     = local.set_yaml
    }
  }
}
