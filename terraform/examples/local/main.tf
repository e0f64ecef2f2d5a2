# Three real regions on this machine, 80 ms apart: terraform apply, then write in one region and read in another.

terraform {
  required_version = ">= 1.9"
}

variable "folder" {
  description = "The folder to create for the regions; by default regions, beside this file."
  type        = string
  default     = null
}

variable "port_base" {
  description = "The first of a block of free ports."
  type        = number
  default     = 7040
}

variable "isthmus" {
  description = "The program isthmus: its name if it is on PATH, or its path."
  type        = string
  default     = "isthmus"
}

module "regions" {
  source = "../../modules/region-local"

  folder     = coalesce(var.folder, abspath("${path.root}/regions"))
  regions    = ["eu-west", "us-east", "ap-south"]
  set        = "shop"
  port_base  = var.port_base
  round_trip = "80ms"
  isthmus    = var.isthmus
}

output "doors" {
  description = "Where applications reach each region's agents."
  value       = module.regions.doors
}

output "gateway_pages" {
  description = "The live page of each region's gateways."
  value       = module.regions.gateway_pages
}

output "folder" {
  description = "For isthmus status --dir and isthmus lab."
  value       = module.regions.folder
}
