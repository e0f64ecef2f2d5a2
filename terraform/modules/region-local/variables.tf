variable "folder" {
  description = "The folder to create for the regions: their settings, data and logs. It must not exist yet."
  type        = string
  nullable    = false

  validation {
    condition     = startswith(var.folder, "/") && length(regexall("[\\s'\"]", var.folder)) == 0 && !endswith(var.folder, "/")
    error_message = "folder is an absolute path without spaces, quotes or a final slash."
  }
}

variable "regions" {
  description = "The names of the regions."
  type        = list(string)
  default     = ["eu-west", "us-east", "ap-south"]
  nullable    = false

  validation {
    condition     = length(var.regions) >= 1 && length(var.regions) <= 64 && length(distinct(var.regions)) == length(var.regions)
    error_message = "There are 1 to 64 regions, none of them twice."
  }
  validation {
    condition     = alltrue([for region in var.regions : can(regex("^[a-z0-9-]{1,32}$", region))])
    error_message = "The name of a region is 1 to 32 of the characters a-z, 0-9 and -."
  }
}

variable "set" {
  description = "The set's name."
  type        = string
  default     = "dev"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9-]{1,32}$", var.set))
    error_message = "The set's name is 1 to 32 of the characters a-z, 0-9 and -."
  }
}

variable "port_base" {
  description = "The first of a block of free ports: 20 for each region, and what the network between them takes after that."
  type        = number
  default     = 7040
  nullable    = false

  validation {
    condition = (
      var.port_base >= 1024 && var.port_base + 20 * length(var.regions) <= 65000 && floor(var.port_base) == var.port_base
    )
    error_message = "port_base is a port from 1024, with room for the regions below 65000."
  }
}

variable "round_trip" {
  description = "The round trip between any two regions."
  type        = string
  default     = "0ms"
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]+(ms|s)$", var.round_trip))
    error_message = "round_trip is a time with its unit, such as 80ms."
  }
}

variable "isthmus" {
  description = "The program isthmus: its name if it is on PATH, or its path. The other binaries are beside it."
  type        = string
  default     = "isthmus"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_./+-]+$", var.isthmus))
    error_message = "isthmus is the name or path of a program."
  }
}

variable "ready_seconds" {
  description = "How long the regions may take until every process is ready."
  type        = number
  default     = 120
  nullable    = false

  validation {
    condition     = var.ready_seconds >= 1 && var.ready_seconds <= 3600
    error_message = "ready_seconds is 1 to 3600."
  }
}
