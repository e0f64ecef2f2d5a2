output "doors" {
  description = "Where applications reach each region's agents, for instance \"$${doors.eu-west[0]}/v1/kv/carts/17\"."
  value = {
    for region, block in local.blocks : region => [for agent in [0, 1] : "http://127.0.0.1:${block + 10 + 2 * agent}"]
  }
  depends_on = [terraform_data.regions]
}

output "gateway_pages" {
  description = "The page of each region's gateways."
  value = {
    for region, block in local.blocks : region =>
    [for gateway in [0, 1] : "http://127.0.0.1:${block + 15 + 2 * gateway}/"]
  }
  depends_on = [terraform_data.regions]
}

output "folder" {
  description = "The folder for isthmus status --dir, isthmus doctor --dir and isthmus lab."
  value       = "${var.folder}/set"
  depends_on  = [terraform_data.regions]
}
