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
    join = {
      server = "https://node01:6443";
      tokenFile = "/run/keys/join";
    };
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
  "an agent needs a server and a token" = {
    expr = failed (enabled {
      role = "agent";
    });
    expected = [ "services.nanocloud.join.server: an agent needs a server to join." ];
  };
  "an agent is started with both" = {
    expr =
      let
        s = (unit (enabled agent)).serviceConfig;
      in
      [
        s.ExecStart
        s.LoadCredential
        (s ? ExecStartPre)
        (failed (enabled agent))
      ];
    expected = [
      "/test/nanocloud/bin/nanocloud agent --join https://node01:6443 --token-file %d/join-token"
      "join-token:/run/keys/join"
      false
      [ ]
    ];
  };
  "a token in the Nix store is refused" = {
    expr = lib.length (
      failed (
        enabled (
          agent
          // {
            join = agent.join // {
              tokenFile = "/nix/store/token";
            };
          }
        )
      )
    );
    expected = 1;
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
