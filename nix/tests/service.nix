{
  lib,
  machine,
  enabled,
  failed,
  throws,
  unit,
  ...
}:
let
  service = (unit (enabled { })).serviceConfig;
  agent = {
    role = "agent";
    listenAddress = "192.0.2.5";
    peer.port = 6444;
    join.file = "/run/keys/join";
  };
in
{
  "a machine that does not enable it gets nothing" = {
    expr =
      let
        config = machine { };
      in
      [
        config.systemd.services
        config.environment.etc
        config.networking.firewall.allowedTCPPorts
        config.boot.kernelModules
      ];
    expected = [
      { }
      { }
      [ ]
      [ ]
    ];
  };
  "the unit starts the server and waits for READY=1" = {
    expr = [
      service.Type
      service.ExecStart
    ];
    expected = [
      "notify"
      "/test/nanocloud/bin/nanocloud server"
    ];
  };
  "the server's memory is bounded" = {
    expr = service.MemoryMax;
    expected = "50%";
  };
  "containers outlive a restart" = {
    expr = [
      service.KillMode
      service.Delegate
      service.RuntimeDirectoryPreserve
    ];
    expected = [
      "process"
      true
      true
    ];
  };
  # A private mount namespace would hide pinned network namespaces from the next start.
  "no directive makes a mount namespace" = {
    expr = lib.filter (key: service ? ${key}) [
      "BindPaths"
      "InaccessiblePaths"
      "MountFlags"
      "PrivateDevices"
      "PrivateMounts"
      "PrivateTmp"
      "ProcSubset"
      "ProtectControlGroups"
      "ProtectHome"
      "ProtectKernelLogs"
      "ProtectKernelModules"
      "ProtectKernelTunables"
      "ProtectProc"
      "ProtectSystem"
      "ReadOnlyPaths"
      "ReadWritePaths"
      "RootDirectory"
      "TemporaryFileSystem"
    ];
    expected = [ ];
  };
  "the client's unit has no capabilities and a file system it cannot write" = {
    expr =
      let
        apply = (enabled { }).systemd.services.nanocloud-apply.serviceConfig;
      in
      [
        apply.CapabilityBoundingSet
        apply.ProtectSystem
        apply.NoNewPrivileges
      ];
    expected = [
      ""
      "strict"
      true
    ];
  };
  "an agent needs the word to join" = {
    expr = failed (enabled {
      role = "agent";
    });
    expected = [
      "services.nanocloud.join.file: an agent joins a cluster; it needs the word for that."
    ];
  };
  "a machine that joins is given the word as a credential" = {
    expr =
      let
        config = enabled agent;
        s = (unit config).serviceConfig;
      in
      [
        s.ExecStart
        s.LoadCredential
        (s ? ExecStartPre)
        (failed config)
        config.services.nanocloud.settings.peer_listen
        config.services.nanocloud.settings.peer_address
        config.services.nanocloud.settings.api_url
      ];
    expected = [
      "/test/nanocloud/bin/nanocloud server --join-file %d/join"
      "join:/run/keys/join"
      false
      [ ]
      "192.0.2.5:6444"
      "node01:6444"
      "https://node01:6443"
    ];
  };
  "a machine without its word waits for it, and fails only after it has joined" = {
    expr =
      let
        config = enabled agent;
      in
      [
        (unit config).unitConfig.ConditionPathExists
        config.systemd.paths.nanocloud-join.pathConfig
        ((enabled { }).systemd.paths == { })
      ];
    expected = [
      [
        "|/run/keys/join"
        "|/var/lib/nanocloud.io/member.json"
      ]
      {
        PathChanged = "/run/keys/join";
        Unit = "nanocloud.service";
      }
      true
    ];
  };
  "a new configuration is one restart" = {
    expr = (unit (enabled { })).stopIfChanged;
    expected = false;
  };
  "what is declared is applied even if the server's first start fails" = {
    expr =
      let
        apply = (enabled { }).systemd.services.nanocloud-apply;
      in
      [
        apply.requires
        apply.wants
        apply.serviceConfig.Restart
      ];
    expected = [
      [ ]
      [ "nanocloud.service" ]
      "on-failure"
    ];
  };
  "a word in the Nix store, no port for members, a loopback address are refused" = {
    expr = map (change: lib.length (failed (enabled (agent // change)))) [
      { join.file = "/nix/store/word"; }
      { peer.port = null; }
      { listenAddress = "127.0.0.1"; }
    ];
    expected = [
      1
      1
      1
    ];
  };
  "a server without pods has no capabilities and says so to the program" = {
    expr =
      let
        config = enabled { runPods = false; };
        s = (unit config).serviceConfig;
      in
      [
        s.CapabilityBoundingSet
        s.ProtectSystem
        s.RestrictNamespaces
        (s ? Delegate)
        config.services.nanocloud.settings.agent
      ];
    expected = [
      ""
      "strict"
      true
      false
      false
    ];
  };
  "an unknown role is refused" = {
    expr = throws (
      unit (enabled {
        role = "boss";
      })
    );
    expected = true;
  };
  "an unknown option is refused" = {
    expr = throws (enabled { listenAdress = "0.0.0.0"; }).environment.etc;
    expected = true;
  };
  "only the first server makes keys and applies what is declared" = {
    expr = (enabled agent).systemd.services ? nanocloud-apply;
    expected = false;
  };
}
