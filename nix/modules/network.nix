# Addresses, the kernel's part in them, and the host's firewall.
{ config, lib, ... }:
let
  cfg = config.services.nanocloud;
  inherit (lib) mkDefault mkOption types;
  address = import ../lib/address.nix { inherit lib; };
  nftables = config.networking.nftables;
  # The host's ends of pods' links are called nc and twelve hexadecimal digits (crates/net).
  podLinks = "nc[0-9a-f]*";
  byte = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
  cidr = types.strMatching "${byte}[.]${byte}[.]${byte}[.]${byte}/([0-9]|[12][0-9]|3[0-2])";
in
{
  options.services.nanocloud = {
    listenAddress = mkOption {
      type = types.str;
      default = "127.0.0.1";
      example = "0.0.0.0";
      description = "Address the API listens on. Only this machine reaches the default.";
    };

    port = mkOption {
      type = types.port;
      default = 6443;
      description = "Port of the API.";
    };

    openFirewall = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether the host's firewall lets others reach the API, and other members of the cluster. Ports
        that services publish are not its business: they are translated before it looks at them, and
        open to everybody who reaches the machine.
      '';
    };

    bridge = mkOption {
      type = types.strMatching "[a-z][a-z0-9_-]{0,14}";
      default = "nanocloud0";
      description = "Bridge of the pods.";
    };

    podCidr = mkOption {
      type = cidr;
      default = "10.88.0.0/16";
      description = "Addresses of pods.";
    };

    serviceCidr = mkOption {
      type = cidr;
      default = "10.96.0.0/16";
      description = "Addresses of services.";
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = cfg.podCidr != cfg.serviceCidr;
        message = "services.nanocloud.serviceCidr: it is the same range as podCidr; choose another.";
      }
      {
        assertion = cfg.openFirewall -> !(address.isLoopback cfg.listenAddress);
        message = "services.nanocloud.openFirewall: nobody can reach ${cfg.listenAddress} from outside; set listenAddress.";
      }
    ];

    services.nanocloud.settings = {
      listen = mkDefault (address.withPort cfg.listenAddress cfg.port);
      bridge = mkDefault cfg.bridge;
      pod_cidr = mkDefault cfg.podCidr;
      service_cidr = mkDefault cfg.serviceCidr;
    };

    warnings = lib.optional (nftables.enable && nftables.flushRuleset) ''
      networking.nftables.flushRuleset: each reload of the firewall removes the rules of services and pods, which
      nanocloud restores within a minute. Set it to false, and name tables in networking.nftables.tables.
    '';

    # Nobody else gives addresses to pods' links: a DHCP client would solicit on each, and route by them.
    networking.dhcpcd.denyInterfaces = [
      cfg.bridge
      podLinks
    ];
    environment.etc."NetworkManager/conf.d/50-nanocloud.conf" =
      lib.mkIf config.networking.networkmanager.enable
        {
          text = ''
            [device-nanocloud]
            match-device=interface-name:${cfg.bridge};interface-name:nc????????????
            managed=0
          '';
        };

    networking.firewall = {
      allowedTCPPorts = lib.optional cfg.openFirewall cfg.port;
      # Pods ask the node for names and reach services through it.
      interfaces.${cfg.bridge} = {
        allowedTCPPorts = [ 53 ];
        allowedUDPPorts = [ 53 ];
      };
      # Packets to a service's address arrive by another interface than the answer leaves by.
      checkReversePath = mkDefault "loose";
    };

    # NixOS itself allows enough inotify instances and watches. A setting that it makes with mkDefault
    # must not be made here with the same priority, not even with the same value.
    boot.kernel.sysctl."net.ipv4.ip_forward" = mkDefault 1;
    boot.kernelModules = [
      "overlay"
      "veth"
      "bridge"
      "nf_tables"
      "nf_nat"
      # Connections that the rules no longer make are forgotten.
      "nf_conntrack_netlink"
      # Volumes in files, and encrypted ones.
      "loop"
      "dm_crypt"
    ]
    # Loaded when they are needed, where that is possible later.
    ++ lib.optionals config.security.lockKernelModules [
      "nf_conntrack"
      "nft_chain_nat"
      "nft_ct"
      "nft_fib_inet"
      "nft_hash"
      "nft_masq"
      "nft_nat"
      "nft_numgen"
      "nft_reject_inet"
      "tun"
    ];
  };
}
