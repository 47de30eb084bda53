{
  lib,
  ours,
  enabled,
  failed,
  throws,
  golden,
  ...
}:
let
  inherit (ours) cluster;
  example = import ../templates/ha/cluster.nix;
  change = lib.recursiveUpdate example;
  messages =
    c:
    failed (enabled {
      cluster = c;
    });
  first = c: lib.head (messages c ++ [ "nothing is found" ]);
in
{
  # crates/fleet reads the same file.
  "the example is the golden document" = {
    expr = builtins.fromJSON (cluster.toJSON (cluster.evaluate example));
    expected = builtins.fromJSON (golden "cluster.json");
  };
  "the example is sound" = {
    expr = messages example;
    expected = [ ];
  };
  "a misspelt key, a wrong type and a missing value do not evaluate" = {
    expr = map (c: throws (cluster.evaluate c)) [
      (change { nodes.node01.adress = "192.0.2.9"; })
      (change { nodes.node01.role = "boss"; })
      (change { pools.control.minSize = "three"; })
      (change { classes.worker.disk = "/dev/sda"; })
      { nodes.node01.address = "192.0.2.11"; }
    ];
    expected = lib.genList (_: true) 5;
  };
  # The same documents with the same findings are in crates/fleet/src/check.rs.
  "what does not fit together is named by its path" = {
    expr = map first [
      (change { nodes.node03.role = "agent"; })
      (change { nodes.node02.address = "192.0.2.11"; })
      (change { nodes.worker01.pool = "none"; })
      (change { nodes.worker01.class = "worker"; })
      (change { pools.workers.class = "none"; })
      (change { pools.workers.minSize = 2; })
      (change { rollouts.control.maxUnavailable = 2; })
      (change { rollouts.workers.selector.pools = [ "none" ]; })
      (change { placements.registry.replicas = 4; })
    ];
    expected = [
      "services.nanocloud.cluster.nodes: a cluster has 1, 3 or 5 servers, this one 2."
      "services.nanocloud.cluster.nodes: two nodes have the same address."
      "services.nanocloud.cluster.nodes.worker01.pool: there is no pool none; there is control, workers."
      "services.nanocloud.cluster.nodes.worker01.class: the pool says the class; leave it out."
      "services.nanocloud.cluster.pools.workers.class: there is no class none; there is control-plane, worker."
      "services.nanocloud.cluster.pools.workers: it has 1 nodes; allowed are 2 to 10000."
      "services.nanocloud.cluster.rollouts.control.maxUnavailable: 2 of 3 servers at once leaves no majority; at most 1."
      "services.nanocloud.cluster.rollouts.workers.selector.pools: no pools are called none; there is control, workers."
      "services.nanocloud.cluster.placements.registry.replicas: 4 do not fit when no two share a failureDomain: there is room for 3."
    ];
  };
  "a machine that is not in its cluster is told so" = {
    expr = failed (enabled {
      nodeName = "stranger";
      cluster = example;
    });
    expected = [ "services.nanocloud.cluster.nodes: this machine, stranger, is not among them." ];
  };
}
