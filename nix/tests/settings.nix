{
  lib,
  enabled,
  machineWith,
  failed,
  throws,
  golden,
  ...
}:
let
  text = config: config.environment.etc."nanocloud/config.toml".text;
in
{
  # crates/nanocloud reads the same file and asks for these values.
  "the configuration file is the golden one" = {
    expr = text (enabled {
      listenAddress = "0.0.0.0";
      peer = {
        port = 6444;
        address = "node01.example.org";
      };
      runPods = false;
      settings = {
        binding_apparmor = "require";
        binding_gid = 1001;
        binding_timeout = "5m";
        binding_uid = 1000;
        election_ms = 2000;
        keyspace_keep_age = "1h";
        keyspace_keep_revisions = 1000;
        keyspace_quota = 1073741824;
        log = "info,kubelet=debug";
        log_format = "json";
        pod_host_ports = "6443/tcp,123/udp";
        require_client_certificate = true;
      };
      volumesRoot = "/srv/volumes";
    });
    expected = golden "config.toml";
  };
  "what is null is left to the program" = {
    expr = lib.hasInfix "null" (text (enabled { }));
    expected = false;
  };
  "strings are quoted" = {
    expr = lib.hasInfix ''log = "a\"b"'' (
      text (enabled {
        settings.log = ''a"b'';
      })
    );
    expected = true;
  };
  "the firewall opens the port that is listened on" = {
    expr =
      (enabled {
        openFirewall = true;
        listenAddress = "0.0.0.0";
        port = 7443;
      }).networking.firewall.allowedTCPPorts;
    expected = [ 7443 ];
  };
  "an open firewall before a loopback address is refused" = {
    expr = failed (enabled {
      openFirewall = true;
    });
    expected = [
      "services.nanocloud.openFirewall: nobody can reach 127.0.0.1 from outside; set listenAddress."
    ];
  };
  "a kernel setting of the machine's owner wins" = {
    expr =
      (machineWith { boot.kernel.sysctl."net.ipv4.ip_forward" = 0; } { enable = true; })
      .boot.kernel.sysctl."net.ipv4.ip_forward";
    expected = 0;
  };
  "an IPv6 address stands in brackets before its port" = {
    expr =
      let
        config = enabled {
          listenAddress = "2001:db8::1";
          peer = {
            port = 6444;
            address = "2001:db8::1";
          };
        };
      in
      map (name: config.services.nanocloud.settings.${name}) [
        "listen"
        "peer_listen"
        "peer_address"
        "api_url"
      ];
    expected = [
      "[2001:db8::1]:6443"
      "[2001:db8::1]:6444"
      "[2001:db8::1]:6444"
      "https://[2001:db8::1]:6443"
    ];
  };
  "an open firewall before any loopback address is refused" = {
    expr =
      map
        (
          listenAddress:
          lib.length (
            failed (enabled {
              openFirewall = true;
              inherit listenAddress;
            })
          )
        )
        [
          "::1"
          "localhost"
          "::"
        ];
    expected = [
      1
      1
      0
    ];
  };
  "a setting of the machine's owner wins over what options say" = {
    expr =
      let
        inherit
          ((enabled {
            settings = {
              listen = "192.0.2.1:7000";
              node = "other";
              pod_cidr = "10.1.0.0/16";
              state_root = "/srv";
            };
          }).services.nanocloud
          )
          settings
          ;
      in
      [
        settings.listen
        settings.node
        settings.pod_cidr
        settings.state_root
      ];
    expected = [
      "192.0.2.1:7000"
      "other"
      "10.1.0.0/16"
      "/srv"
    ];
  };
  "lists and fractions are written as TOML" = {
    expr =
      map
        (
          line:
          lib.hasInfix line (
            text (enabled {
              settings = {
                some_list = [
                  "a"
                  1
                ];
                some_share = 0.5;
              };
            })
          )
        )
        [
          "some_list = [\"a\", 1]\n"
          "some_share = 0.5\n"
        ];
    expected = [
      true
      true
    ];
  };
  "bad values are refused by their type" = {
    expr = map (settings: throws (text (enabled settings))) [
      { port = 70000; }
      { podCidr = "10.88.0.0/33"; }
      { podCidr = "10.88.256.0/16"; }
      { bridge = "a-name-that-is-too-long"; }
      { bridge = "0pods"; }
      { nodeName = "Upper"; }
      { settings.binding_apparmor = "off"; }
      { settings.binding_timeout = "5"; }
      { settings.log_format = "xml"; }
      { settings.pod_host_ports = "6443"; }
      { stateRoot = "relative"; }
    ];
    expected = lib.genList (_: true) 11;
  };
  "state in the run directory or the store is refused" = {
    expr =
      map
        (
          stateRoot:
          lib.length (
            failed (enabled {
              inherit stateRoot;
            })
          )
        )
        [
          "/run/nanocloud/state"
          "/nix/state"
          "/srv/state"
        ];
    expected = [
      1
      1
      0
    ];
  };
  "state elsewhere is made by tmpfiles" = {
    expr =
      let
        config = enabled { stateRoot = "/srv/cloud"; };
      in
      [
        (config.systemd.tmpfiles.settings."10-nanocloud" ? "/srv/cloud")
        (config.systemd.services.nanocloud.serviceConfig ? StateDirectory)
      ];
    expected = [
      true
      false
    ];
  };
}
