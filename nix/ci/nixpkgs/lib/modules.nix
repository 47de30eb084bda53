# The module system: options, definitions with priorities, and everything that is an error.
{ lib }:
let
  b = builtins;
  show = b.concatStringsSep ".";
  isType = name: v: b.isAttrs v && (v._type or null) == name;
  typed = _type: attributes: attributes // { inherit _type; };

  defaultPriority = 100;
  defaultOrder = 1000;
  keys = [
    "_class"
    "_file"
    "key"
    "imports"
    "options"
    "config"
    "freeformType"
    "_module"
  ];

  # A definition { file, value } whose value may be mkIf, mkMerge, mkOverride, mkOrder -> definitions
  # with a priority. The content of an override is not looked at: it may lose, and then be wrong.
  discharge =
    { file, value }:
    if isType "if" value then
      lib.optionals value.condition (discharge {
        inherit file;
        value = value.content;
      })
    else if isType "merge" value then
      b.concatMap (
        content:
        discharge {
          inherit file;
          value = content;
        }
      ) value.contents
    else if isType "override" value then
      [
        {
          inherit file;
          inherit (value) priority;
          value = value.content;
        }
      ]
    else
      [
        {
          inherit file value;
          priority = defaultPriority;
        }
      ];
  # What is left when the priority is known.
  ordered =
    d:
    if isType "order" d.value then
      d
      // {
        order = d.value.priority;
        value = d.value.content;
      }
    else
      d // { order = defaultOrder; };

  # The same properties above the level of options: moved down to each attribute.
  push =
    { file, value }:
    let
      again = map (value: {
        inherit file value;
      });
      down =
        wrap:
        map (d: d // { value = b.mapAttrs (_: wrap) d.value; }) (
          b.concatMap push (again [ value.content ])
        );
    in
    if isType "merge" value then
      b.concatMap push (again value.contents)
    else if isType "if" value then
      down (content: value // { inherit content; })
    else if isType "override" value then
      down (content: value // { inherit content; })
    else if b.isAttrs value then
      [ { inherit file value; } ]
    else
      throw "in ${file}: a ${b.typeOf value} where a set of options is expected";

  # The value of one option or element, from its definitions; null if there is none, else { value; }.
  mergeDefinitions =
    type: path: definitions:
    let
      all = b.concatMap discharge definitions;
      best = b.foldl' (least: d: if d.priority < least then d.priority else least) 100000 all;
      kept = b.sort (x: y: x.order < y.order) (map ordered (b.filter (d: d.priority == best) all));
    in
    if all == [ ] then null else { value = type.merge path kept; };

  evalModules =
    {
      modules,
      specialArgs ? { },
      prefix ? [ ],
      class ? null,
    }:
    let
      # Arguments are taken from plain modules only, which asks nothing of the configuration.
      moduleArguments = b.foldl' (
        all: m: all // (if b.isAttrs m then m._module.args or { } else { })
      ) { } modules;
      arguments = {
        inherit lib config;
        options = declared;
      }
      // specialArgs
      // moduleArguments;

      call =
        file: f:
        let
          wanted = b.functionArgs f;
          given = b.mapAttrs (
            name: optional:
            arguments.${name}
              or (throw "in ${file}: a module asks for the argument `${name}', which nobody gives")
          ) (lib.filterAttrs (name: optional: !optional || arguments ? ${name}) wanted);
        in
        f (if wanted == { } then arguments else given);

      # A module as nixpkgs holds it: modules of one key are one module, however often it is imported.
      load =
        file: fallbackKey: module:
        let
          path = b.isPath module || b.isString module;
          here = if path then toString module else file;
          key = toString (called.key or (if path then here else fallbackKey));
          moduleClass = called._class or null;
          content = if path then import module else module;
          called = if b.isFunction content then call here content else content;
          structured = called ? config || called ? options;
          stray = b.filter (name: !(b.elem name keys)) (b.attrNames called);
          source = called._file or here;
        in
        if !b.isAttrs called then
          throw "in ${here}: a module is a ${b.typeOf called}"
        else if structured && stray != [ ] then
          throw "in ${source}: module has an unsupported attribute `${b.head stray}': definitions belong below `config'"
        else if class != null && moduleClass != null && moduleClass != class then
          throw "The module `${source}` (class: ${moduleClass}) cannot be imported into a module evaluation that expects class ${class}."
        else
          {
            inherit key;
            imports = loadAll source key (called.imports or [ ]);
            file = source;
            options = called.options or { };
            config = if structured then called.config or { } else removeAttrs called keys;
            freeformType = called.freeformType or null;
          };
      loadAll = file: parent: lib.imap0 (index: load file "${parent}:anon-${toString index}");
      # Level by level, and the last one first: the order in which definitions of lists are joined.
      loaded = lib.reverseList (
        b.genericClosure {
          startSet = loadAll "<unnamed module>" "" modules;
          operator = module: module.imports;
        }
      );
      free = b.foldl' (found: m: if m.freeformType != null then m.freeformType else found) null loaded;

      declare =
        path: trees:
        b.zipAttrsWith (
          name: nodes:
          let
            here = path ++ [ name ];
          in
          if b.all (isType "option") nodes then
            if b.length nodes == 1 then b.head nodes else throw "option `${show here}' is declared twice"
          else if b.any (isType "option") nodes then
            throw "option `${show here}' is declared, and others below it"
          else
            declare here nodes
        ) trees;
      declared = declare prefix (map (m: m.options) loaded);

      definitionsOf =
        definitions:
        b.zipAttrsWith (_: found: found) (
          b.concatMap (
            d:
            map (
              p:
              b.mapAttrs (_: value: {
                inherit (p) file;
                inherit value;
              }) p.value
            ) (push d)
          ) definitions
        );

      evaluate =
        path: options: definitions:
        let
          found = definitionsOf definitions;
        in
        b.mapAttrs (
          name: option:
          let
            here = path ++ [ name ];
            given = found.${name} or [ ];
            fallback = lib.optional (option ? default) {
              file = "the option's default";
              value = lib.mkOverride 1500 option.default;
            };
            merged = mergeDefinitions option.type here (given ++ fallback);
          in
          if !(isType "option" option) then
            evaluate here option given
          else if merged == null then
            throw "The option `${show here}' was accessed but has no value defined. Try setting the option."
          else
            (option.apply or lib.id) merged.value
        ) options;

      # Definitions that belong to no option: [ { path, file, value } ].
      unmatched =
        path: options: definitions:
        let
          found = definitionsOf definitions;
        in
        b.concatMap (
          name:
          if !(options ? ${name}) then
            map (d: d // { path = path ++ [ name ]; }) found.${name}
          else if isType "option" options.${name} then
            [ ]
          else
            unmatched (path ++ [ name ]) options.${name} found.${name}
        ) (b.attrNames found);

      all = map (m: {
        inherit (m) file;
        value = m.config;
      }) loaded;
      strays = unmatched prefix declared all;
      # Below a free form type the strays of the first level are values of that type.
      freely = lib.optionalAttrs (free != null) (
        (free.merge prefix (
          map (d: d // { value = removeAttrs d.value (b.attrNames declared); }) (b.concatMap push all)
        ))
      );
      config = freely // evaluate prefix declared all;
      complain = d: throw "The option `${show d.path}' does not exist. Definition values: in `${d.file}'";
      deep = if free == null then strays else b.filter (d: b.length d.path > b.length prefix + 1) strays;
    in
    {
      options = declared;
      config = if deep == [ ] then config else complain (b.head deep);
    };
in
{
  inherit evalModules mergeDefinitions isType;

  mkOption =
    option:
    let
      known = [
        "apply"
        "default"
        "defaultText"
        "description"
        "example"
        "internal"
        "type"
        "visible"
      ];
      stray = b.filter (name: !(b.elem name known)) (b.attrNames option);
    in
    if stray != [ ] then
      throw "mkOption: unexpected argument `${b.head stray}'"
    else if !(option ? type) then
      throw "mkOption: an option without a type"
    else
      typed "option" option;
  mkEnableOption =
    what:
    lib.mkOption {
      type = lib.types.bool;
      default = false;
      example = true;
      description = "Whether to enable ${what}.";
    };
  mkPackageOption =
    pkgs: name: _:
    lib.mkOption {
      type = lib.types.package;
      default = pkgs.${name};
      description = "The ${name} package to use.";
    };
  mkIf = condition: content: typed "if" { inherit condition content; };
  mkMerge = contents: typed "merge" { inherit contents; };
  mkOverride = priority: content: typed "override" { inherit priority content; };
  mkDefault = lib.mkOverride 1000;
  mkForce = lib.mkOverride 50;
  mkOrder = priority: content: typed "order" { inherit priority content; };
  mkBefore = lib.mkOrder 500;
  mkAfter = lib.mkOrder 1500;
  literalExpression = text: typed "literalExpression" { inherit text; };
}
