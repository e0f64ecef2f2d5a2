locals {
  gateway_names = { for name in keys(var.regions) : name => "gw.${name}.${var.gateway_domain}" }

  regions = {
    for name, region in var.regions : name => merge(
      {
        gateways = coalesce(region.gateways, ["dns:${local.gateway_names[name]}:${region.gateway_port}"])
        trust    = coalesce(region.trust, "trust/${name}.pem")
      },
      region.identity == null ? {} : { identity = region.identity }
    )
  }

  # A key that is not given is left out, so that Isthmus's own default holds.
  optional_keys = {
    groups  = { for name, group in var.set.groups : name => { for key, value in group : key => value if value != null } }
    buckets = { for name, bucket in var.set.buckets : name => { for key, value in bucket : key => value if value != null } }
    clock   = { for key, value in var.set.clock : key => value if value != null }
    membership = {
      for key, value in var.set.membership : key => value if value != null
    }
  }

  set_yaml = yamlencode(merge(
    {
      set          = var.set.name
      generation   = var.set.generation
      trust_domain = var.set.trust_domain
      regions      = local.regions
    },
    { for key, value in local.optional_keys : key => value if length(value) > 0 },
    var.set.lag_objective == null ? {} : { lag_objective = var.set.lag_objective }
  ))

  peers = { for name in keys(var.regions) : name => [for other in keys(var.regions) : other if other != name] }
}
