output "region" {
  description = "The region's name in the set."
  value       = var.region
}

output "gateway_name" {
  description = "The name that other regions find the gateways by, and the port."
  value       = { name = var.gateway_name, port = var.link_port }
}

output "gateway_load_balancer" {
  description = "What gateway_name has to point to, if the operator manages the zone: an alias or a CNAME."
  value       = { dns_name = aws_lb.gateway.dns_name, zone_id = aws_lb.gateway.zone_id }
}

output "peer" {
  description = "This region as the others know it: what they set in peers."
  value = {
    dials_from = local.dials_from
    listens_on = local.listens_on
    port       = var.link_port
  }
}

output "agents_url" {
  description = "The agents' door, within the network; null without a load balancer before it."
  value       = var.agents_load_balancer ? "https://agents.${local.domain}:${local.door_port}" : null
}

output "nats_servers" {
  description = "The region's NATS, for isthmus region init."
  value       = local.nats_settings.gateway.servers
}

output "process_names" {
  description = "The names that the region's processes take, for isthmus region init --process."
  value       = concat(local.process_names.agent, local.process_names.gateway)
}

output "nats_instances" {
  description = "The addresses of the NATS instances in this module, for terraform apply -replace, one after the other."
  value       = [for zone in local.zones : "aws_instance.nats[\"${zone}\"]"]
}

output "files" {
  description = "The files that instances begin with, by instance and path. They hold no secret."
  value       = { for name, files in local.files : name => { for path, file in files : path => file.text } }
}

output "user_data" {
  description = "What instances are started with, before compression, by instance. It holds no secret."
  value       = local.user_data
}

output "network" {
  description = "The region's network."
  value = {
    vpc_id          = local.vpc_id
    private_subnets = local.private_subnets
    security_groups = { for name, group in aws_security_group.this : name => group.id }
  }
}
