# Dockyard images from the recipes in dockyard/, with packages of nixpkgs (docs/recipes.md).
#
# { image-<name> = derivation; ... } for every recipe that lists packages.nix. The result is an archive;
# `skopeo copy docker-archive:result oci:<state root>/catalog/<name>:latest` puts it into the catalog.
{
  lib,
  dockerTools,
  buildEnv,
  pkgs,
}:
let
  dockyard = ../../dockyard;
  read = folder: lib.importTOML (folder + "/recipe.toml") // { inherit folder; };
  recipes = import ./recipes.nix { inherit lib dockyard read; };
  package = attribute: lib.getAttrFromPath (lib.splitString "." attribute) pkgs;
  mode = entry: default: entry.mode or default;
  # The version of what is inside: that of the package called like the recipe, not Debian's.
  version =
    recipe:
    let
      named = lib.filter (lib.hasPrefix recipe.name) (recipe.packages.nix or [ ]);
    in
    if named == [ ] then recipe.version else (package (lib.head named)).version;

  # Everything above `recipe`, the lowest first.
  chain = recipe: lib.optionals (recipe ? base) (chain recipes.${recipe.base}) ++ [ recipe ];
  gather = field: recipe: lib.concatMap (r: r.${field} or [ ]) (chain recipe);
  nixPackages = recipe: lib.concatMap (r: r.packages.nix or [ ]) (chain recipe);
  links = recipe: lib.foldl' (all: r: all // (r.nix.links or { })) { } (chain recipe);
  users = recipe: lib.concatMap (r: lib.optional (r ? user) r.user) (chain recipe);
  runAs =
    recipe:
    if recipe ? user then "${toString recipe.user.uid}:${toString recipe.user.gid}" else "65534:65534";

  passwd = recipe: ''
    root:x:0:0:root:/:/usr/sbin/nologin
    ${
      lib.concatMapStrings (
        u: "${u.name}:x:${toString u.uid}:${toString u.gid}::${u.home}:/usr/sbin/nologin\n"
      ) (users recipe)
    }nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
  '';
  group = recipe: ''
    root:x:0:
    ${lib.concatMapStrings (u: "${u.name}:x:${toString u.gid}:\n") (users recipe)}nogroup:x:65534:
  '';

  # What the recipes add, laid out at the paths they name; owners are given in fakeRootCommands.
  additions =
    recipe:
    let
      every = chain recipe;
      perRecipe =
        r:
        lib.concatMapStrings (d: ''
          mkdir -p ".${d.path}"
          chmod ${mode d "0755"} ".${d.path}"
        '') (r.directory or [ ])
        + lib.concatMapStrings (f: ''
          install -D -m ${mode f "0644"} ${r.folder + "/${f.from}"} ".${f.to}"
        '') (r.file or [ ])
        + lib.concatMapStrings (l: ''
          mkdir -p "$(dirname ".${l.path}")"
          ln -sfn ${lib.escapeShellArg l.target} ".${l.path}"
        '') (r.symlink or [ ]);
      linkLines = lib.concatStrings (
        lib.mapAttrsToList (
          path: target:
          let
            parts = lib.splitString ":" target;
          in
          ''
            mkdir -p "$(dirname ".${path}")"
            ln -sfn ${package (lib.head parts)}/${lib.last parts} ".${path}"
          ''
        ) (links recipe)
      );
    in
    ''
      mkdir -p etc tmp
      chmod 1777 tmp
      cat >etc/passwd <<'END'
      ${passwd recipe}END
      cat >etc/group <<'END'
      ${group recipe}END
    ''
    + linkLines
    + lib.concatMapStrings perRecipe every;

  owners =
    recipe:
    lib.concatMapStrings (
      entry:
      lib.optionalString ((entry.owner or "root") == "user") ''
        chown ${runAs recipe} ".${entry.path or entry.to}"
      ''
    ) (gather "directory" recipe ++ gather "file" recipe);

  set =
    names:
    lib.listToAttrs (
      map (name: {
        inherit name;
        value = { };
      }) names
    );

  label = import ./recipe-label.nix { inherit lib; };

  image =
    recipe:
    dockerTools.buildLayeredImage {
      inherit (recipe) name;
      tag = version recipe;
      contents = [
        (buildEnv {
          name = "${lib.replaceStrings [ "/" ] [ "-" ] recipe.name}-environment";
          paths = map package (nixPackages recipe);
          pathsToLink = [
            "/bin"
            "/etc/ssl"
            "/share/zoneinfo"
          ];
        })
      ];
      fakeRootCommands = additions recipe + owners recipe;
      enableFakechroot = false;
      config = {
        User = runAs recipe;
        Env = [
          "PATH=/bin:/usr/bin"
        ]
        ++ lib.mapAttrsToList (name: value: "${name}=${value}") (recipe.env or { });
        Entrypoint = recipe.entrypoint or [ ];
        Cmd = recipe.cmd or [ ];
        WorkingDir = recipe.working_dir or "/";
        StopSignal = recipe.stop_signal or "SIGTERM";
        ExposedPorts = set (
          map (p: "${toString p.port}/${lib.toLower (p.protocol or "TCP")}") (recipe.label.ports or [ ])
        );
        Volumes = set (map (v: v.path) (recipe.label.volumes or [ ]));
        Labels = label recipe // {
          "org.opencontainers.image.version" = version recipe;
        };
      };
    };
  # Made by Nix if all its packages are named, or if it has none beside those of its base.
  offered = lib.filterAttrs (
    _: recipe: (recipe.packages.nix or [ ]) != [ ] || (recipe.packages.debian or [ ]) == [ ]
  ) recipes;
in
lib.mapAttrs' (name: recipe: {
  name = "image-${lib.replaceStrings [ "/" ] [ "-" ] name}";
  value = image recipe;
}) offered
