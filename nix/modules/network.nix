# Addresses, the kernel's part in them, and the host's firewall.
{ config, lib, ... }:
let
  cfg = config.services.nanocloud;
  inherit (lib) mkOption types;
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
      description = "Whether the host's firewall lets others reach the API, and other members of the cluster.";
    };

    bridge = mkOption {
      type = types.strMatching "[a-z0-9_-]{1,15}";
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
        assertion = cfg.openFirewall -> !(lib.hasPrefix "127." cfg.listenAddress);
        message = "services.nanocloud.openFirewall: nobody can reach ${cfg.listenAddress} from outside; set listenAddress.";
      }
    ];

    services.nanocloud.settings = {
      listen = "${cfg.listenAddress}:${toString cfg.port}";
      inherit (cfg) bridge;
      pod_cidr = cfg.podCidr;
      service_cidr = cfg.serviceCidr;
    };

    networking.firewall = {
      allowedTCPPorts = lib.optional cfg.openFirewall cfg.port;
      # Pods ask the node for names and reach services through it.
      interfaces.${cfg.bridge} = {
        allowedTCPPorts = [ 53 ];
        allowedUDPPorts = [ 53 ];
      };
      # Packets to a service's address arrive by another interface than the answer leaves by.
      checkReversePath = lib.mkDefault "loose";
    };

    # NixOS itself allows enough inotify instances and watches. A setting that it makes with mkDefault
    # must not be made here with the same priority, not even with the same value.
    boot.kernel.sysctl."net.ipv4.ip_forward" = lib.mkDefault 1;
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
    ];
  };
}
