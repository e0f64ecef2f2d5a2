# Real NATS servers, agents and gateways, as processes of this machine. An apply starts them, a destroy ends them.

locals {
  # As isthmus up lays its ports out: 20 for each region; the first agent's door is the tenth, and so on.
  blocks = { for index, region in var.regions : region => var.port_base + 20 * index }
}

resource "terraform_data" "regions" {
  # Whatever differs makes other regions: the old ones end, the new ones begin with nothing.
  triggers_replace = [var.folder, var.regions, var.set, var.port_base, var.round_trip, var.isthmus]

  # A destroy sees no variable: what it needs is kept here.
  input = {
    folder = var.folder
    script = abspath("${path.module}/regions")
  }

  provisioner "local-exec" {
    command = "\"$SCRIPT\" start"
    environment = {
      SCRIPT        = self.input.script
      FOLDER        = self.input.folder
      ISTHMUS       = var.isthmus
      REGIONS       = join(",", var.regions)
      SET           = var.set
      PORT_BASE     = var.port_base
      ROUND_TRIP    = var.round_trip
      READY_SECONDS = var.ready_seconds
    }
  }

  provisioner "local-exec" {
    when    = destroy
    command = "\"$SCRIPT\" stop"
    environment = {
      SCRIPT = self.input.script
      FOLDER = self.input.folder
    }
  }
}
