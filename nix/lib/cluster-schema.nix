# The one place where a cluster is written down: nodes, classes, pools, rollouts, placement.
#
# Needs nixpkgs.lib and nothing else, so that the module, the tests, `nix eval --json` and machines
# without nixpkgs use the same file. The JSON is read by the crate `fleet` (crates/fleet), which
# states the same rules; nix/ci/golden/ holds documents that both sides must agree on.
{ lib }:
let
  inherit (lib) mkOption types;

  label = types.strMatching "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?";
  hostName = types.strMatching "[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?";
  labels = mkOption {
    type = types.attrsOf (types.strMatching "[A-Za-z0-9]?([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?");
    default = { };
    description = "Labels of the nodes (Kubernetes' syntax).";
  };
  configuration = mkOption {
    type = types.strMatching "[A-Za-z0-9_-]+";
    description = "Name in `nixosConfigurations` of what the nodes run.";
  };
  namesOf =
    what:
    mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Names of ${what}; an empty list excludes nothing.";
    };
  count =
    default: description:
    mkOption {
      type = types.ints.between 1 10000;
      inherit default description;
    };

  node = {
    options = {
      address = mkOption {
        type = types.strMatching "[0-9a-fA-F.:]+|[a-z0-9]([-a-z0-9.]*[a-z0-9])?";
        description = "Address or name the other nodes reach it by.";
      };
      role = mkOption {
        type = types.enum [
          "server"
          "agent"
        ];
        default = "agent";
        description = "A server votes on the keyspace; an agent runs pods only.";
      };
      pool = mkOption {
        type = types.nullOr label;
        default = null;
        description = "Pool it belongs to; its class comes from there.";
      };
      class = mkOption {
        type = types.nullOr label;
        default = null;
        description = "Class of a node that belongs to no pool.";
      };
      failureDomain = mkOption {
        type = label;
        default = "default";
        description = "What fails together: a rack, a room, a host of virtual machines.";
      };
      serial = mkOption {
        type = types.nullOr (types.strMatching "[ -~]{1,128}");
        default = null;
        description = "Serial number of the machine (DMI), by which an installer finds its node.";
      };
      inherit labels;
    };
  };

  class = {
    options = {
      inherit configuration labels;
      disk = mkOption {
        type = types.nullOr (types.strMatching "/dev/disk/by-(id|path)/[^ /]+");
        default = null;
        description = "Disk to install on, by a name that does not depend on the order of detection.";
      };
    };
  };

  pool = {
    options = {
      class = mkOption {
        type = label;
        description = "Class of the pool's nodes.";
      };
      minSize = mkOption {
        type = types.ints.between 0 10000;
        default = 0;
        description = "Fewest nodes.";
      };
      maxSize = count 10000 "Most nodes.";
      inherit labels;
    };
  };

  selector = {
    options = {
      nodes = namesOf "nodes";
      pools = namesOf "pools";
      classes = namesOf "classes";
    };
  };
  selected =
    description:
    mkOption {
      type = types.submodule selector;
      default = { };
      inherit description;
    };

  rollout = {
    options = {
      inherit configuration;
      selector = selected "Nodes that get it; all, if nothing is named.";
      maxUnavailable = count 1 "Most nodes that change at the same time.";
      healthTimeoutSeconds = mkOption {
        type = types.ints.between 1 86400;
        default = 300;
        description = "How long a node may take to be healthy with the new system, in seconds.";
      };
      rollback = mkOption {
        type = types.bool;
        default = true;
        description = "Whether a node that is not healthy in time returns to what it ran before.";
      };
      paused = mkOption {
        type = types.bool;
        default = false;
        description = "Whether no further node begins.";
      };
    };
  };

  placement = {
    options = {
      service = mkOption {
        type = label;
        description = "Service that is placed.";
      };
      replicas = count 1 "How many run.";
      selector = selected "Nodes it may run on; all, if nothing is named.";
      spread = mkOption {
        type = types.enum [
          "none"
          "node"
          "failureDomain"
        ];
        default = "node";
        description = "What no two replicas share.";
      };
    };
  };

  tableOf =
    module: description:
    mkOption {
      type = types.attrsOf (types.submodule module);
      default = { };
      inherit description;
    };

  # What a type cannot say. `at` is the path of the cluster in the configuration.
  assertions =
    at: c:
    let
      check = path: assertion: message: {
        inherit assertion;
        message = "${at}.${path}: ${message}";
      };
      each = table: f: lib.concatLists (lib.mapAttrsToList f c.${table});
      oneOf = names: "there is ${lib.concatStringsSep ", " (lib.attrNames names)}";
      classOf = n: if n.pool != null && c.pools ? ${n.pool} then c.pools.${n.pool}.class else n.class;
      matches =
        s: name: n:
        (s.nodes == [ ] || lib.elem name s.nodes)
        && (s.pools == [ ] || lib.elem n.pool s.pools)
        && (s.classes == [ ] || lib.elem (classOf n) s.classes);
      select = s: lib.filterAttrs (matches s) c.nodes;
      known =
        path: s:
        lib.concatMap
          (
            table:
            map (
              name:
              check "${path}.${table}" (
                c.${table} ? ${name}
              ) "no ${table} are called ${name}; ${oneOf c.${table}}."
            ) s.${table}
          )
          [
            "nodes"
            "pools"
            "classes"
          ];
      servers = lib.filterAttrs (_: n: n.role == "server") c.nodes;
      serverCount = lib.length (lib.attrNames servers);
      # How many voters may be away while the rest still decides.
      tolerated = (serverCount - 1) / 2;
      addresses = lib.mapAttrsToList (_: n: n.address) c.nodes;
      serials = lib.filter (s: s != null) (lib.mapAttrsToList (_: n: n.serial) c.nodes);
    in
    [
      (check "nodes" (lib.elem serverCount [
        1
        3
        5
      ]) "a cluster has 1, 3 or 5 servers, this one ${toString serverCount}.")
      (check "nodes" (lib.allUnique addresses) "two nodes have the same address.")
      (check "nodes" (lib.allUnique serials) "two nodes have the same serial.")
    ]
    ++ each "nodes" (
      name: n: [
        (check "nodes.${name}.pool" (
          n.pool == null || c.pools ? ${n.pool}
        ) "there is no pool ${toString n.pool}; ${oneOf c.pools}.")
        (check "nodes.${name}.class" (
          n.class == null || c.classes ? ${n.class}
        ) "there is no class ${toString n.class}; ${oneOf c.classes}.")
        (check "nodes.${name}.class" (
          n.pool == null || n.class == null
        ) "the pool says the class; leave it out.")
        (check "nodes.${name}.pool" (n.pool != null || n.class != null) "a node needs a pool or a class.")
      ]
    )
    ++ each "pools" (
      name: p:
      let
        size = lib.length (lib.attrNames (lib.filterAttrs (_: n: n.pool == name) c.nodes));
      in
      [
        (check "pools.${name}.class" (
          c.classes ? ${p.class}
        ) "there is no class ${p.class}; ${oneOf c.classes}.")
        (check "pools.${name}.minSize" (
          p.minSize <= p.maxSize
        ) "${toString p.minSize} is more than maxSize ${toString p.maxSize}.")
        (check "pools.${name}" (
          size >= p.minSize && size <= p.maxSize
        ) "it has ${toString size} nodes; allowed are ${toString p.minSize} to ${toString p.maxSize}.")
      ]
    )
    ++ each "rollouts" (
      name: r:
      let
        voters = lib.length (
          lib.attrNames (lib.filterAttrs (_: n: n.role == "server") (select r.selector))
        );
      in
      known "rollouts.${name}.selector" r.selector
      ++ [
        (check "rollouts.${name}.selector" (select r.selector != { }) "it selects no node.")
        (check "rollouts.${name}.maxUnavailable" (voters <= 1 || r.maxUnavailable <= tolerated)
          "${toString r.maxUnavailable} of ${toString serverCount} servers at once leaves no majority; at most ${toString tolerated}."
        )
      ]
    )
    ++ each "placements" (
      name: p:
      let
        nodes = select p.selector;
        domains = lib.unique (lib.mapAttrsToList (_: n: n.failureDomain) nodes);
        room =
          if p.spread == "node" then
            lib.length (lib.attrNames nodes)
          else if p.spread == "failureDomain" then
            lib.length domains
          else
            p.replicas;
      in
      known "placements.${name}.selector" p.selector
      ++ [
        (check "placements.${name}.selector" (nodes != { }) "it selects no node.")
        (check "placements.${name}.replicas" (nodes == { } || p.replicas <= room)
          "${toString p.replicas} do not fit when no two share a ${p.spread}: there is room for ${toString room}."
        )
      ]
    );

  module = {
    options = {
      apiVersion = mkOption {
        type = types.enum [ "nanocloud.io/v1" ];
        default = "nanocloud.io/v1";
        description = "Version of this document.";
      };
      kind = mkOption {
        type = types.enum [ "Cluster" ];
        default = "Cluster";
        description = "Kind of this document.";
      };
      name = mkOption {
        type = hostName;
        description = "Name of the cluster.";
      };
      nodes = tableOf node "Machines of the cluster by name.";
      classes = tableOf class "Kinds of machines by name.";
      pools = tableOf pool "Groups of machines of one class by name.";
      rollouts = tableOf rollout "Changes of systems, node by node, by name.";
      placements = tableOf placement "Services that run on the hosts themselves, by name.";
    };
  };
in
{
  inherit module assertions;

  # An evaluated cluster as the JSON that machines read.
  toJSON = builtins.toJSON;

  # Plain attributes -> evaluated and checked, or an error that names the path.
  evaluate =
    cluster:
    let
      inherit
        (lib.evalModules {
          modules = [
            { options.cluster = mkOption { type = types.submodule module; }; }
            { config.cluster = cluster; }
          ];
        })
        config
        ;
      broken = lib.filter (a: !a.assertion) (assertions "cluster" config.cluster);
    in
    if broken == [ ] then
      config.cluster
    else
      throw (lib.concatMapStringsSep "\n" (a: a.message) broken);
}
