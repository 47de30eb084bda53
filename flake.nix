{
  description = "nanocloud: a small-server platform with a Kubernetes-style API";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    disko.url = "github:nix-community/disko";
    disko.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs =
    {
      self,
      nixpkgs,
      disko,
    }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      # Hosts and images of these configurations; other systems use the modules.
      system = "x86_64-linux";
      ours = import ./nix/lib { inherit lib; };
      pkgsFor = platform: nixpkgs.legacyPackages.${platform}.extend self.overlays.default;
      eachSystem = f: lib.genAttrs systems (platform: f (pkgsFor platform));
      machine =
        modules: specialArgs:
        lib.nixosSystem {
          inherit specialArgs;
          modules = [
            self.nixosModules.default
            { nixpkgs.hostPlatform = lib.mkDefault system; }
          ]
          ++ modules;
        };
      arguments = {
        inherit
          self
          lib
          disko
          ours
          machine
          ;
      };
    in
    {
      lib = ours // {
        # A machine with an installDisk -> the medium that installs it, as a NixOS configuration.
        installer = target: machine [ ./nix/profiles/installer.nix ] { inherit target; };
        # Results of the module's unit tests, by evaluation alone: `nix eval --json .#lib.unitTests`.
        unitTests = import ./nix/tests arguments;
        # Unit files as text, for machines that are not NixOS: `make nix-units`.
        unitFiles = import ./nix/lib/debian-units.nix { inherit lib; };
      };

      overlays.default = final: _: {
        nanocloud = final.callPackage ./nix/packages/nanocloud.nix {
          machineTests = lib.optionalAttrs (final.stdenv.hostPlatform.system == system) {
            inherit (self.checks.${system})
              backup
              bindings
              durability
              ha
              single-node
              ;
          };
        };
        # Not by callPackage, which adds functions to the set; a flake's packages are derivations.
        nanocloudImages = import ./nix/packages/dockyard.nix {
          inherit (final) lib dockerTools buildEnv;
          pkgs = final;
        };
      };

      nixosModules = import ./nix/modules/exported.nix arguments;
      nixosConfigurations = import ./nix/profiles arguments;

      packages = eachSystem (
        pkgs:
        {
          inherit (pkgs) nanocloud;
          default = pkgs.nanocloud;
          options-doc = import ./nix/packages/options-doc.nix (arguments // { inherit pkgs; });
        }
        // pkgs.nanocloudImages
        // lib.optionalAttrs (pkgs.stdenv.hostPlatform.system == system) {
          single-node-trial-vm = self.nixosConfigurations.single-node.config.system.build.vm;
          installer-iso = self.nixosConfigurations.installer.config.system.build.isoImage;
        }
      );

      apps = lib.genAttrs [ system ] (
        platform: import ./nix/packages/apps.nix (arguments // { pkgs = pkgsFor platform; })
      );

      checks = lib.genAttrs [ system ] (
        platform: import ./nix/checks (arguments // { pkgs = pkgsFor platform; })
      );

      templates = {
        default = self.templates.single-node;
        single-node = {
          path = ./nix/templates/single-node;
          description = "One machine with nanocloud and a service";
          welcomeText = ''
            Edit before the first build:
            - flake.nix: the address of the input `nanocloud`
            - hardware.nix: what `nixos-generate-config --show-hardware-config` prints
            - configuration.nix: host name, boot loader, services
          '';
        };
        ha = {
          path = ./nix/templates/ha;
          description = "Three servers and workers from one description of the cluster";
          welcomeText = ''
            Edit before the first build:
            - flake.nix: the address of the input `nanocloud`, your SSH key, disks, gateway
            - cluster.nix: the machines and their addresses
          '';
        };
      };

      formatter = eachSystem (pkgs: pkgs.nixfmt-tree);

      devShells = eachSystem (pkgs: {
        default = pkgs.mkShell {
          inputsFrom = [ pkgs.nanocloud ];
          packages = with pkgs; [
            cargo-nextest
            clippy
            dpkg
            apt
            iproute2
            kubectl
            crun
            nftables
            nixfmt
            python3
            qemu
            runc
            rustfmt
            shellcheck
            skopeo
            umoci
          ];
        };
      });
    };
}
