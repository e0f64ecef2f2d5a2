output "agents_url" {
  description = "Where applications of the network reach the region."
  value       = module.region.agents_url
}

output "nats_servers" {
  description = "For isthmus region init."
  value       = module.region.nats_servers
}

output "peer" {
  description = "What the other regions need to know about this one."
  value       = module.region.peer
}

output "process_names" {
  description = "For isthmus region init --process."
  value       = module.region.process_names
}
