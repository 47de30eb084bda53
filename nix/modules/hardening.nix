# What the server may do. Each line says why it is there, or why it is not.
#
# A server that runs no pods opens sockets and files of its own, and is confined like any daemon. One
# that makes containers cannot be: see `withPods` for what it needs and docs/nix.md for the figures.
{ config, lib, ... }:
let
  cfg = config.services.nanocloud;

  always = {
    # Nothing below this unit gains rights by a set-id program; containers run with it anyway.
    NoNewPrivileges = true;
    # No foreign or 32-bit calls.
    SystemCallArchitectures = "native";
    # A call that is refused is an error and no death: libraries probe for what there is.
    SystemCallErrorNumber = "EPERM";
    # No process changes its scheduling class or execution domain.
    RestrictRealtime = true;
    LockPersonality = true;
    # Nor the clock. Filters calls and devices; unlike its siblings it makes no mount namespace.
    ProtectClock = true;
    # The kernel's key ring of the unit is not shared with login sessions.
    KeyringMode = "private";
  };

  # Not here, on purpose: everything that gives a unit a mount namespace of its own (ProtectSystem,
  # ProtectHome, ProtectProc, ProtectKernelTunables, ProtectKernelModules, ProtectKernelLogs,
  # ProtectControlGroups, PrivateTmp, PrivateDevices, ReadWritePaths, ...). Pods' network namespaces
  # and volumes are mounts that must be seen by the next server process; in a namespace of its own each
  # start of the unit would lose them, and every running pod with them. For the same reason the units
  # of container engines have none of these lines.
  #
  # System call filters and limits are inherited by containers: a line that a container could need to
  # be without (MemoryDenyWriteExecute breaks JIT compilers, ProtectHostname sethostname(2),
  # RestrictSUIDSGID the unpacking of images, RestrictNamespaces everything) cannot be here either.
  # Containers get their own, narrower filter from the runtime.
  withPods = {
    CapabilityBoundingSet = [
      "CAP_SYS_ADMIN" # namespaces, mounts, cgroups
      "CAP_NET_ADMIN" # bridge, veth, routes, nftables
      "CAP_NET_BIND_SERVICE" # ports below 1024 that services publish; DNS on the bridge
      "CAP_NET_RAW" # bundles may be granted it
      "CAP_SYS_CHROOT" # setns(2) into a mount namespace
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
    RestrictAddressFamilies = [
      "AF_UNIX"
      "AF_INET"
      "AF_INET6"
      "AF_NETLINK" # links, routes, nftables
      "AF_ALG" # cryptsetup uses the kernel's ciphers for key slots
      "AF_PACKET" # bundles that are granted CAP_NET_RAW
    ];
    # For the server and its shims. Containers are not below this unit's control group, but below the setting
    # `cgroup` at the root of the hierarchy; they cannot make device nodes, and find none beside those of /dev.
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
    # systemd then enables every controller at the root of the hierarchy, where the server makes the
    # containers' groups, and turns none off that no unit of its own uses.
    Delegate = true;
  };

  withoutPods = import ./hardening-of-clients.nix // {
    # /proc/filesystems is looked at by `nanocloud setup`.
    ProcSubset = "all";
    # Where the keyspace and the keys are; everything else is read-only.
    ReadWritePaths = [ cfg.stateRoot ];
  };
in
{
  config = lib.mkIf cfg.enable {
    systemd.services.nanocloud.serviceConfig = lib.mkMerge [
      always
      (if cfg.runPods then withPods else removeAttrs withoutPods (lib.attrNames always))
    ];
  };
}
