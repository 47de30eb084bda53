# What the server may do. Each line says why it is there, or why it is not.
#
# Not there, on purpose: everything that gives a unit a mount namespace of its own (ProtectSystem,
# ProtectHome, ProtectProc, ProtectKernelTunables, ProtectKernelModules, ProtectKernelLogs,
# ProtectControlGroups, PrivateTmp, PrivateDevices, ReadWritePaths, ...). Pods' network namespaces and
# volumes are mounts that must be seen by the next server process; in a namespace of its own each
# start of the unit would lose them, and every running pod with them. For the same reason the units
# of container engines have none of these lines.
#
# System call filters and limits are inherited by containers: a line that a container could need to
# be without (MemoryDenyWriteExecute breaks JIT compilers, ProtectHostname sethostname(2),
# RestrictSUIDSGID the unpacking of images, RestrictNamespaces everything) cannot be here either.
# Containers get their own, narrower filter from the runtime.
{ config, lib, ... }:
let
  cfg = config.services.nanocloud;
in
{
  config = lib.mkIf cfg.enable {
    systemd.services.nanocloud.serviceConfig = {
      # Nothing below this unit gains rights by a set-id program; containers run with it anyway.
      NoNewPrivileges = true;

      CapabilityBoundingSet = [
        "CAP_SYS_ADMIN" # namespaces, mounts, cgroups
        "CAP_NET_ADMIN" # bridge, veth, routes, nftables
        "CAP_NET_BIND_SERVICE" # ports below 1024 that services publish; DNS on the bridge
        "CAP_NET_RAW" # bundles may be granted it
        "CAP_SYS_CHROOT" # pivot_root's sibling for the containers' first process
        "CAP_SYS_PTRACE" # setns(2) into containers, /proc/<pid> of other users
        "CAP_SYS_RESOURCE" # rlimits of containers above the server's own
        "CAP_MKNOD" # /dev/null and its kin in containers; whiteouts of image layers
        "CAP_CHOWN" # files of images and volumes belong to the image's users
        "CAP_FOWNER" # modes and attributes of such files
        "CAP_FSETID" # set-id bits while images are unpacked
        "CAP_SETFCAP" # file capabilities in images
        "CAP_DAC_OVERRIDE" # files of other users, in volumes and layers
        "CAP_DAC_READ_SEARCH" # reading them for backups
        "CAP_SETUID" # becoming the container's user
        "CAP_SETGID"
        "CAP_SETPCAP" # dropping capabilities for containers
        "CAP_IPC_LOCK" # cryptsetup keeps keys out of swap
        "CAP_KILL" # signals to containers' processes
      ];

      # Left out of the default set: 32-bit and foreign calls.
      SystemCallArchitectures = "native";
      # What neither the server nor any container has business with. A list of what is allowed would
      # bind containers to it.
      SystemCallFilter = [
        "~@clock"
        "~@cpu-emulation"
        "~@module"
        "~@obsolete"
        "~@raw-io"
        "~@reboot"
        "~@swap"
      ];
      SystemCallErrorNumber = "EPERM";

      RestrictAddressFamilies = [
        "AF_UNIX"
        "AF_INET"
        "AF_INET6"
        "AF_NETLINK" # links, routes, nftables
        "AF_ALG" # cryptsetup uses the kernel's ciphers for key slots
        "AF_PACKET" # bundles that are granted CAP_NET_RAW
      ];

      # No process here, nor a container, changes its scheduling class or execution domain.
      RestrictRealtime = true;
      LockPersonality = true;

      # Filters calls and devices; unlike its siblings it makes no mount namespace.
      ProtectClock = true;

      # Devices are filtered by a program on the control group, which containers cannot widen.
      DevicePolicy = "closed";
      DeviceAllow = [
        "/dev/loop-control rw" # volumes in files
        "block-loop rwm"
        "/dev/mapper/control rw" # encrypted volumes
        "block-device-mapper rwm"
        "/dev/fuse rw"
        "/dev/net/tun rw"
        "/dev/kvm rw"
        "char-pts rw" # terminals of exec
      ];

      # The default mask: files that containers read are made by the server.
      UMask = "0022";
      # The kernel's key ring of the unit is not shared with login sessions.
      KeyringMode = "private";
    };
  };
}
