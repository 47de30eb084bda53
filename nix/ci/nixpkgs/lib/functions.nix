# Functions on lists, attributes and strings, with the names and arguments of nixpkgs.lib.
let
  b = builtins;
  lib = {
    inherit (b)
      all
      any
      attrNames
      attrValues
      concatLists
      concatMap
      concatStringsSep
      elem
      elemAt
      filter
      foldl'
      genList
      head
      isAttrs
      isBool
      isFunction
      isInt
      isList
      isString
      length
      listToAttrs
      mapAttrs
      pathExists
      readFile
      replaceStrings
      sort
      splitVersion
      stringLength
      substring
      tail
      toJSON
      ;

    id = x: x;
    last = list: b.elemAt list (b.length list - 1);
    optional = condition: value: if condition then [ value ] else [ ];
    optionals = condition: list: if condition then list else [ ];
    optionalAttrs = condition: attributes: if condition then attributes else { };
    optionalString = condition: text: if condition then text else "";
    unique = b.foldl' (kept: x: if b.elem x kept then kept else kept ++ [ x ]) [ ];
    allUnique = list: b.length (lib.unique list) == b.length list;
    imap0 = f: list: b.genList (index: f index (b.elemAt list index)) (b.length list);
    reverseList = list: b.genList (n: b.elemAt list (b.length list - n - 1)) (b.length list);
    range = from: to: if from > to then [ ] else b.genList (n: from + n) (to - from + 1);
    subtractLists = less: b.filter (x: !(b.elem x less));

    nameValuePair = name: value: { inherit name value; };
    getName = package: package.pname or package.name;
    findFirst =
      wanted: fallback: list:
      let
        found = b.filter wanted list;
      in
      if found == [ ] then fallback else b.head found;
    genAttrs = names: f: b.listToAttrs (map (name: lib.nameValuePair name (f name)) names);
    filterAttrs =
      keep: attributes:
      b.listToAttrs (
        b.concatMap (
          name: lib.optional (keep name attributes.${name}) (lib.nameValuePair name attributes.${name})
        ) (b.attrNames attributes)
      );
    mapAttrs' = f: attributes: b.listToAttrs (lib.mapAttrsToList f attributes);
    mapAttrsToList = f: attributes: map (name: f name attributes.${name}) (b.attrNames attributes);
    getAttrFromPath =
      path: attributes:
      b.foldl' (
        at: name: at.${name} or (throw "cannot find attribute `${b.concatStringsSep "." path}'")
      ) attributes path;
    concatMapAttrs =
      f: attributes: b.foldl' (all: more: all // more) { } (lib.mapAttrsToList f attributes);
    recursiveUpdate =
      left: right:
      if b.isAttrs left && b.isAttrs right then
        left // b.mapAttrs (name: v: if left ? ${name} then lib.recursiveUpdate left.${name} v else v) right
      else
        right;

    concatStrings = b.concatStringsSep "";
    concatMapStrings = f: list: lib.concatStrings (map f list);
    concatMapStringsSep =
      separator: f: list:
      b.concatStringsSep separator (map f list);
    concatLines = lib.concatMapStrings (line: "${line}\n");
    boolToString = v: if v then "true" else "false";
    hasPrefix = prefix: text: b.substring 0 (b.stringLength prefix) text == prefix;
    hasSuffix =
      suffix: text:
      let
        rest = b.stringLength text - b.stringLength suffix;
      in
      rest >= 0 && b.substring rest (b.stringLength suffix) text == suffix;
    hasInfix = infix: text: b.length (lib.splitString infix text) > 1;
    removePrefix =
      prefix: text:
      if lib.hasPrefix prefix text then
        b.substring (b.stringLength prefix) (b.stringLength text) text
      else
        text;
    removeSuffix =
      suffix: text:
      if lib.hasSuffix suffix text then
        b.substring 0 (b.stringLength text - b.stringLength suffix) text
      else
        text;
    splitString =
      separator: text:
      let
        special = lib.splitCharacters "\\[{()^$?*+|.";
        literal = b.replaceStrings special (map (c: "\\${c}") special) separator;
      in
      b.filter b.isString (b.split literal text);
    toLower =
      let
        upper = lib.splitCharacters "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        lower = lib.splitCharacters "abcdefghijklmnopqrstuvwxyz";
      in
      b.replaceStrings upper lower;
    splitCharacters = text: b.genList (n: b.substring n 1 text) (b.stringLength text);
    escapeShellArg =
      value:
      let
        text = toString value;
      in
      if b.match "[[:alnum:],._+:@%/-]+" text != null then
        text
      else
        "'${b.replaceStrings [ "'" ] [ "'\\''" ] text}'";
    escapeShellArgs = lib.concatMapStringsSep " " lib.escapeShellArg;

    importTOML = path: b.fromTOML (b.readFile path);
    importJSON = path: b.fromJSON (b.readFile path);
    getExe = package: "${package}/bin/${package.meta.mainProgram}";
    getExe' = package: name: "${package}/bin/${name}";
    throwIf = condition: message: if condition then throw message else lib.id;
    versionAtLeast = have: least: b.compareVersions have least >= 0;

    # Nothing is copied: that every path is there is what can be said without a builder.
    fileset = {
      unions = map (
        path: if b.pathExists path then path else throw "fileset: there is no ${toString path}"
      );
      toSource = { root, fileset }: b.deepSeq fileset root;
    };
  };
in
lib
