"""Mistakes that people make. Each changes one place of a copy of the tree; nix-check must turn red.

A mutation that no longer applies, because the text it replaces is gone, is a failure as well.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutation:
    """One mistake: what is replaced where, which check must find it, and what it must say."""

    name: str
    file: str
    old: str
    new: str
    check: str
    says: str

    def apply(self, tree: Path):
        path = tree / self.file
        text = path.read_text()
        if text.count(self.old) != 1:
            raise RuntimeError(f"mutation {self.name!r}: {self.file} has {self.old!r} {text.count(self.old)} times")
        # Written anew: the copy may be shared with the original.
        path.unlink()
        path.write_text(text.replace(self.old, self.new))


ALL = [
    Mutation(
        "typing error in the path of an option of ours", "nix/profiles/qemu-vm.nix",
        'listenAddress = "0.0.0.0"', 'listenAdress = "0.0.0.0"',
        "outputs", r"option `services\.nanocloud\.listenAdress' does not exist",
    ),
    Mutation(
        "typing error in the path of an option of NixOS", "nix/modules/network.nix",
        "networking.firewall = {", "networking.firewal = {",
        "outputs", r"option `networking\.firewal' does not exist",
    ),
    Mutation(
        "wrong type of an option's value", "nix/profiles/qemu-vm.nix",
        "memorySize = 3072;", 'memorySize = "3G";',
        "outputs", r"virtualisation\.memorySize' is not of type",
    ),
    Mutation(
        "wrong type deep in a list", "nix/profiles/qemu-vm.nix",
        "host.port = 8080;", 'host.port = "8080";',
        "outputs", r"forwardPorts\.\[1\]\.host\.port' is not of type",
    ),
    Mutation(
        "value outside of its range", "nix/modules/network.nix",
        "default = 6443;", "default = 70000;",
        "outputs", r"services\.nanocloud\.port' is not of type",
    ),
    Mutation(
        "two values that contradict each other", "nix/profiles/single-node.nix",
        "services.nanocloud.enable = true;", 'services.nanocloud.enable = true;\n  services.nanocloud.listenAddress = "::";',
        "outputs", r"conflicting definition values",
    ),
    Mutation(
        "definition beside options without `config`", "nix/profiles/bare-metal/disk.nix",
        "  config.disko.devices", "  disko.devices",
        "outputs", r"unsupported attribute `disko'",
    ),
    Mutation(
        "module that is not there", "nix/modules/default.nix",
        "./settings.nix", "./setings.nix",
        "outputs", r"setings\.nix",
    ),
    Mutation(
        "profile that is not there", "flake.nix",
        "./nix/profiles/installer.nix", "./nix/profiles/instaler.nix",
        "outputs", r"instaler\.nix",
    ),
    Mutation(
        "configuration taken out of the flake", "nix/profiles/default.nix",
        "  worker01 = machine", "  worker = machine",
        "outputs", r"worker01",
    ),
    Mutation(
        "package that does not exist", "nix/modules/service.nix",
        "pkgs.iproute2\n", "pkgs.iproute\n",
        "outputs", r"attribute 'iproute' missing",
    ),
    Mutation(
        "argument that nobody gives", "nix/profiles/installer.nix",
        "  target,\n", "  targt,\n",
        "outputs", r"targ",
    ),
    Mutation(
        "assertion that can never hold", "nix/modules/join.nix",
        'assertion = cfg.role == "agent" -> joins;', 'assertion = cfg.role != "server";',
        "outputs", r"Failed assertions|module tests failed",
    ),
    Mutation(
        "assertion that always holds", "nix/modules/join.nix",
        'assertion = cfg.role == "agent" -> joins;', "assertion = true;",
        "unit_tests", r"an agent needs the word to join",
    ),
    Mutation(
        "file of a package's source that is not there", "nix/packages/nanocloud.nix",
        "../../Cargo.lock\n", "../../Cargo.lck\n",
        "outputs", r"there is no .*Cargo\.lck",
    ),
    Mutation(
        "containers that die with the server", "nix/modules/service.nix",
        'KillMode = "process";', 'KillMode = "mixed";',
        "unit_tests", r"containers outlive a restart",
    ),
    Mutation(
        "mount namespace around the server", "nix/modules/hardening.nix",
        "    ProtectClock = true;", '    ProtectClock = true;\n    ProtectSystem = "strict";',
        "unit_tests", r"no directive makes a mount namespace",
    ),
    Mutation(
        "unknown key in a unit", "nix/modules/hardening.nix",
        "RestrictRealtime = true;", "RestrictRealTime = true;",
        "unit_files", r"Unknown key (name )?'RestrictRealTime'",
    ),
    Mutation(
        "key in a unit's wrong section", "nix/modules/service.nix",
        "unitConfig.StartLimitIntervalSec", "serviceConfig.StartLimitIntervalSec",
        "unit_files", r"Unknown key (name )?'StartLimitIntervalSec'",
    ),
    Mutation(
        "wrong value of a unit's key", "nix/modules/service.nix",
        'TimeoutStopSec = "1min";', 'TimeoutStopSec = "soon";',
        "unit_files", r"TimeoutStopSec|soon",
    ),
    Mutation(
        "all capabilities again", "nix/modules/hardening.nix",
        '"CAP_KILL" # signals', '"CAP_SYS_MODULE"\n      "CAP_SYS_RAWIO"\n      "CAP_KILL" # signals',
        "unit_exposure", r"exposure of",
    ),
    Mutation(
        "client without a sandbox", "nix/modules/hardening-of-clients.nix",
        'ProtectSystem = "strict";', "ProtectSystem = false;",
        "unit_exposure", r"nanocloud-apply\.service has an exposure",
    ),
    Mutation(
        "setting under another name than the program's", "nix/modules/network.nix",
        "pod_cidr = mkDefault", "pods_cidr = mkDefault",
        "unit_tests", r"configuration file is the golden one",
    ),
    Mutation(
        "key of the cluster's document renamed", "nix/lib/cluster-schema.nix",
        "      rollback = mkOption {", "      rollBack = mkOption {",
        "unit_tests", r"golden document",
    ),
    Mutation(
        "majority given away by a rollout", "nix/templates/ha/cluster.nix",
        'configuration = "node01";\n      selector.pools', 'configuration = "node01";\n      maxUnavailable = 2;\n      selector.pools',
        "outputs", r"leaves no majority",
    ),
    Mutation(
        "lock without a hash", "flake.lock",
        "sha256-lDebytrYdd47IBLwvNOD+6AGeoqZ78CIKlp70hzW280=", "",
        "lock", r"no sha256 hash",
    ),
    Mutation(
        "input that is not locked", "flake.nix",
        'disko.url = "github:nix-community/disko";', 'disko.url = "github:nix-community/disko/v1.12.0";',
        "lock", r"lock file",
    ),
    Mutation(
        "label of an image that differs", "dockyard/redis/recipe.toml",
        'name = "redis"\nversion', 'name = "rediss"\nversion',
        "image_labels", r"labels\.json",
    ),
    Mutation(
        "test script that is no Python", "nix/checks/single-node.nix",
        "start_all()", "start_all(",
        "test_scripts", r"SyntaxError",
    ),
    Mutation(
        "shell script that a build refuses", "nix/packages/single-node-quickstart.sh",
        'rm -rf "$work"', "rm -rf $work",
        "test_scripts", r"SC2086",
    ),
    Mutation(
        "kernel setting that NixOS makes with the same priority", "nix/modules/network.nix",
        'boot.kernel.sysctl."net.ipv4.ip_forward" = mkDefault 1;',
        'boot.kernel.sysctl."fs.inotify.max_user_watches" = mkDefault 524288;',
        "outputs", r"max_user_watches' is defined multiple times",
    ),
    Mutation(
        "set of packages made by callPackage", "flake.nix",
        "import ./nix/packages/dockyard.nix {\n          inherit (final) lib dockerTools buildEnv;\n          pkgs = final;",
        "final.callPackage ./nix/packages/dockyard.nix {",
        "outputs", r"packages\.x86_64-linux\.override: function",
    ),
    Mutation(
        "objects before the namespace that they lie in", "nix/modules/manifests.nix",
        "lib.mkBefore", "lib.mkAfter",
        "unit_tests", r"before bundles",
    ),
    Mutation(
        "unit compared with that of a machine with other settings", "nix/checks/unit-text.nix",
        "plainMachine.config.systemd", "self.nixosConfigurations.single-node.config.systemd",
        "outputs", r"only NixOS' has .*--name 10\.0\.2\.15",
    ),
    Mutation(
        "pattern of processes that finds its own shell", "nix/checks/single-node.nix",
        "shims = machine.succeed(\"pgrep -f '[n]anocloud", "shims = machine.succeed(\"pgrep -f 'nanocloud",
        "test_scripts", r"finds the shell that runs it",
    ),
    Mutation(
        "release of the installation medium set twice", "flake.nix",
        "nixpkgs.hostPlatform = lib.mkDefault system; }",
        'nixpkgs.hostPlatform = lib.mkDefault system; system.stateVersion = lib.mkDefault "26.05"; }',
        "outputs", r"system\.stateVersion' has conflicting definition values",
    ),
    Mutation(
        "pods' links left to the DHCP client", "nix/modules/network.nix",
        "      cfg.bridge\n      podLinks\n", "      cfg.bridge\n",
        "unit_tests", r"a DHCP client leaves",
    ),
    Mutation(
        "service of the template without an image", "nix/templates/single-node/configuration.nix",
        'service = "nginx";', 'service = "wordpress";',
        "outputs", r"the template's services have images",
    ),
    Mutation(
        "images that the module no longer brings", "nix/modules/exported.nix",
        "lib.mkDefault packages.${imageOf service}", "lib.mkIf false packages.${imageOf service}",
        "outputs", r"images of declared services come with the module",
    ),
    Mutation(
        "nginx with the configuration of its package", "dockyard/nginx/entrypoint",
        "exec nginx -c /etc/nginx/nginx.conf", "exec nginx",
        "unit_tests", r"nginx is named its configuration",
    ),
    Mutation(
        "image that says Debian's version", "nix/packages/dockyard.nix",
        "tag = version recipe;", "tag = recipe.version;",
        "outputs", r"images say the version",
    ),
    Mutation(
        "installed machine without a way in", "nix/profiles/bare-metal/login.nix",
        "          config.users.allowNoPasswordLogin\n", "          true\n",
        "outputs", r"an installed machine has a way in",
    ),
    Mutation(
        "medium for the flake's own machine only", "flake.nix",
        "        installer = target: machine [ ./nix/profiles/installer.nix ] { inherit target; };\n", "",
        "outputs", r"attribute 'installer' missing",
    ),
    Mutation(
        "disk wiped before the firmware is looked at", "nix/profiles/installer.nix",
        "if [ ! -d /sys/firmware/efi ]; then", "if false; then",
        "outputs", r"looks for UEFI before it touches the disk",
    ),
    Mutation(
        "dark screen while a machine is installed", "nix/profiles/installer.nix",
        '    "console=tty0"\n', "",
        "outputs", r"the medium shows its work",
    ),
    Mutation(
        "boot loader in the file that is replaced", "nix/templates/single-node/hardware.nix",
        "  fileSystems", "  boot.loader.systemd-boot.enable = true;\n  fileSystems",
        "outputs", r"boot loader outlives",
    ),
    Mutation(
        "declared objects lost after one failed start", "nix/modules/apply.nix",
        'wants = [ "nanocloud.service" ];', 'requires = [ "nanocloud.service" ];',
        "unit_tests", r"first start fails",
    ),
    Mutation(
        "IPv6 address without brackets", "nix/modules/network.nix",
        "address.withPort cfg.listenAddress cfg.port", '"${cfg.listenAddress}:${toString cfg.port}"',
        "unit_tests", r"IPv6 address stands in brackets",
    ),
    Mutation(
        "setting that its owner cannot change", "nix/modules/settings.nix",
        "settings.node = lib.mkDefault cfg.nodeName;", "settings.node = cfg.nodeName;",
        "unit_tests", r"conflicting definition values|is not of type",
    ),
    Mutation(
        "bridge's name that the program refuses", "nix/modules/network.nix",
        "[a-z][a-z0-9_-]{0,14}", "[a-z0-9_-]{1,15}",
        "unit_tests", r"bad values are refused",
    ),
    Mutation(
        "machine without its word that fails for ever", "nix/modules/join.nix",
        "unitConfig.ConditionPathExists = lib.mkIf joins [", "unitConfig.ConditionPathExists = lib.mkIf (joins && false) [",
        "unit_tests", r"ConditionPathExists|waits for it",
    ),
    Mutation(
        "server stopped while the machine is changed", "nix/modules/service.nix",
        "stopIfChanged = false;", "stopIfChanged = true;",
        "unit_tests", r"a new configuration is one restart",
    ),
    Mutation(
        "firewall rules missing where no module is loaded later", "nix/modules/network.nix",
        '      "nft_masq"\n', "",
        "unit_tests", r"a kernel that loads no modules later",
    ),
    Mutation(
        "firewall that removes ours without a warning", "nix/modules/network.nix",
        "nftables.enable && nftables.flushRuleset", "nftables.enable && false",
        "unit_tests", r"removes foreign rules",
    ),
    Mutation(
        "module without a key", "nix/modules/exported.nix",
        '    key = "nanocloud.nixosModules.${name}";\n', "",
        "outputs", r"without _class, _file and key|imported twice",
    ),
    Mutation(
        "module of another class", "nix/modules/exported.nix",
        '_class = "nixos";', '_class = "homeManager";',
        "outputs", r"cannot be imported into a module evaluation that expects class nixos",
    ),
    Mutation(
        "option without a description", "nix/modules/network.nix",
        '      description = "Addresses of pods.";\n', "",
        "outputs", r"podCidr has no description",
    ),
    Mutation(
        "unfinished work on the supported surface", "nix/modules/state.nix",
        "# Where things live.", "# TODO: where things live.",
        "supported_surface", r"nix/modules/state\.nix:1",
    ),
]
