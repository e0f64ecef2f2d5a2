# The files that instances begin with. They hold no secret: hashes of tokens, public nkeys, and where secrets are.

locals {
  nats_names = { for zone, number in local.zone_numbers : zone => "nats-${number}.${local.domain}" }

  common_settings = {
    set    = "set.yaml"
    region = var.region
    log = {
      create    = false
      replicas  = 3
      max_bytes = "${var.log.max_gib}GiB"
      retention = "${var.log.retention_gib}GiB"
    }
    telemetry = merge(
      { log = "info", log_format = "json", clients_may_sample = false, show_keys = false },
      { for ratio in var.collector == null ? [] : [var.trace_ratio] : "ratio" => ratio },
      {
        for endpoint in var.collector == null ? [] : ["http://127.0.0.1:4317"] : "otlp" =>
        { endpoint = endpoint, protocol = "grpc" }
      }
    )
    drain = "${var.drain_seconds}s"
  }
  nats_settings = {
    for role in ["agent", "gateway"] : role => {
      servers     = [for zone in local.zones : "nats://${local.nats_names[zone]}:${local.nats_port}"]
      credentials = "nats/${role}.nk"
      ca          = "nats/ca.pem"
      domain      = var.region
    }
  }

  process_files = {
    agent = yamlencode(merge(local.common_settings, {
      nats   = local.nats_settings.agent
      listen = "0.0.0.0:${local.door_port}"
      tls = merge(
        { certificate = "tls/agent.crt", key = "tls/agent.key" },
        { for file in keys(local.secret_files.agent) : "clients" => file if file == "tls/clients.pem" },
        { for file in keys(local.secret_files.agent) : "revoked" => file if file == "tls/revoked-clients.txt" }
      )
      clients = {
        for name, client in var.clients : name => { for key, list in client : key => list if length(list) > 0 }
      }
      admin  = { listen = "127.0.0.1:${local.roles.agent.admin_port}" }
      data   = "/var/lib/isthmus"
      memory = { soft = var.agents.memory_soft, hard = var.agents.memory_hard }
    }))
    gateway = yamlencode(merge(local.common_settings, {
      nats = local.nats_settings.gateway
      link = merge(
        { listen = "0.0.0.0:${var.link_port}", certificate = "tls/gateway.crt", key = "tls/gateway.key" },
        { for file in keys(local.secret_files.gateway) : "revoked" => file if file == "tls/revoked.txt" }
      )
      admin = { listen = "127.0.0.1:${local.roles.gateway.admin_port}" }
    }))
  }

  nats_conf = {
    for zone, number in local.zone_numbers : zone => templatefile("${path.module}/templates/nats.conf.tftpl", {
      server  = "${var.region}-nats-${number}"
      region  = var.region
      subject = "isthmus.${local.set.set}.${var.region}"
      leases  = "ISTHMUS_${local.set.set}_${var.region}_LEASES"
      events  = "ISTHMUS_${local.set.set}_${var.region}_EVENTS"
      asides = [
        for name, group in local.groups : "ISTHMUS_${local.set.set}_${var.region}_ASIDE_${name}"
        if try(contains(group.regions, var.region), true)
      ]
      file_gib = local.nats_file_gib
      routes   = [for other in local.zones : "nats://${local.nats_names[other]}:${local.cluster_port}" if other != zone]
      peers    = sort(keys(var.peers))
      nkeys    = var.nats_nkeys
    })
  }

  # configs/observability/collector.yaml, for the one process of an instance, with the receivers that were given.
  collector_base = yamldecode(file("${path.module}/../../../configs/observability/collector.yaml"))
  collector_yaml = {
    for role, jobs in { agent = "isthmus-agents", gateway = "isthmus-gateways" } : role =>
    var.collector == null ? "" : yamlencode(merge(local.collector_base, {
      receivers = merge(local.collector_base.receivers, {
        prometheus = {
          config = {
            scrape_configs = [
              for job in local.collector_base.receivers.prometheus.config.scrape_configs : merge(job, {
                static_configs = [{
                  targets = ["127.0.0.1:${local.roles[role].admin_port}"]
                  labels  = { region = var.region }
                }]
              }) if job.job_name == jobs
            ]
          }
        }
      })
      exporters = merge(local.collector_base.exporters, {
        "otlp/traces" = merge(local.collector_base.exporters["otlp/traces"], { endpoint = var.collector.traces })
        prometheusremotewrite = merge(local.collector_base.exporters.prometheusremotewrite, {
          endpoint = var.collector.metrics
        })
      })
      }
    ))
  }

  library = {
    for name in ["boot", "fetch-secrets", "install-archive", "lifecycle", "metadata", "process-name"] :
    "/usr/local/lib/isthmus/${name}" => { mode = "0755", text = file("${path.module}/instance/${name}") }
  }
  secrets_units = {
    "/etc/systemd/system/isthmus-secrets.service" = {
      mode = "0644"
      text = file("${path.module}/instance/isthmus-secrets.service")
    }
    "/etc/systemd/system/isthmus-secrets.timer" = {
      mode = "0644"
      text = templatefile("${path.module}/templates/isthmus-secrets.timer.tftpl", {
        minutes = var.secrets_interval_minutes
      })
    }
  }

  common_environment = {
    AWS_DEFAULT_REGION = data.aws_region.current.name
    BUCKET             = var.artifacts.bucket
  }
  environment = merge(
    {
      for role in ["agent", "gateway"] : role => merge(local.common_environment, {
        ROLE             = role
        OWNER            = "isthmus"
        FOLDER           = "/etc/isthmus"
        SERVICE          = local.roles[role].service
        SETTINGS         = local.roles[role].settings
        ADMIN            = "http://127.0.0.1:${local.roles[role].admin_port}"
        GROUP            = "${local.name}-${role}"
        NAMES            = aws_dynamodb_table.names.name
        NAME_COUNT       = length(local.process_names[role])
        NAME_FILE        = "/etc/isthmus/name.env"
        RELEASE_KEY      = var.artifacts.isthmus.key
        RELEASE_SHA256   = var.artifacts.isthmus.sha256
        COLLECTOR_KEY    = join("", local.collector_archives[*].key)
        COLLECTOR_SHA256 = join("", local.collector_archives[*].sha256)
      })
    },
    {
      for zone, number in local.zone_numbers : "nats-${number}" => merge(local.common_environment, {
        ROLE        = "nats"
        OWNER       = "nats"
        FOLDER      = "/etc/nats"
        NATS_KEY    = var.artifacts.nats.key
        NATS_SHA256 = var.artifacts.nats.sha256
        VOLUME      = aws_ebs_volume.nats[zone].id
      })
    }
  )

  role_files = {
    for name, role in merge(
      { agent = "agent", gateway = "gateway" },
      { for number in values(local.zone_numbers) : "nats-${number}" => "nats" }
      ) : name => merge(
      local.library,
      local.secrets_units,
      {
        "/etc/isthmus/secrets.list" = {
          mode = "0644"
          text = join("", [for path, arn in local.secret_files[role] : "${arn} ${path}\n"])
        }
        "/etc/isthmus/instance.env" = {
          mode = "0644"
          text = join("", [for key, value in local.environment[name] : "${key}=${value}\n"])
        }
      }
    )
  }

  files = merge(
    {
      for role in ["agent", "gateway"] : role => merge(
        local.role_files[role],
        {
          "/etc/isthmus/set.yaml"                      = { mode = "0644", text = var.set_yaml }
          "/etc/isthmus/${local.roles[role].settings}" = { mode = "0644", text = local.process_files[role] }
          "/etc/systemd/system/isthmus-lifecycle.service" = {
            mode = "0644", text = file("${path.module}/instance/isthmus-lifecycle.service")
          }
          # Above drain, which the unit of the release leaves 15 s for.
          "/etc/systemd/system/${local.roles[role].service}.service.d/region.conf" = {
            mode = "0644"
            text = "[Service]\nEnvironmentFile=/etc/isthmus/name.env\nTimeoutStopSec=${var.drain_seconds + 5}\n"
          }
        },
        {
          for text in compact([local.collector_yaml[role]]) : "/etc/otelcol/collector.yaml" =>
          { mode = "0644", text = text }
        },
        {
          for archive in local.collector_archives : "/etc/systemd/system/otelcol.service" =>
          { mode = "0644", text = file("${path.module}/instance/otelcol.service") }
        }
      )
    },
    {
      for zone, number in local.zone_numbers : "nats-${number}" => merge(
        local.role_files["nats-${number}"],
        {
          "/etc/nats/nats.conf" = { mode = "0644", text = local.nats_conf[zone] }
          "/etc/systemd/system/nats-server.service" = {
            mode = "0644", text = file("${path.module}/instance/nats-server.service")
          }
        }
      )
    }
  )

  user_data = {
    for name, files in local.files : name => join("", ["#cloud-config\n", yamlencode({
      write_files = [
        for path, file in files : { path = path, permissions = file.mode, owner = "root:root", content = file.text }
      ]
      runcmd = [["/usr/local/lib/isthmus/boot"]]
    })])
  }
}
