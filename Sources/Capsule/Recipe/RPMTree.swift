/// A tree that dnf makes: with repositories, keys, release and architecture of the recipe alone, and nothing of what
/// this host's own dnf and rpm are told.
extension TreeMaker {
  func installRPM(_ base: Recipe.RPM) throws {
    guard !recipe.packages.isEmpty else {
      throw CapsuleError(
        .badSettings, "The recipe names no packages for its RPM tree",
        remedy: "Name them under packages in the recipe; a kernel is one of them")
    }
    say("making an RPM tree of release \(base.release) with dnf")
    let settings = scratch.path + "/dnf"
    for directory in [root, settings, settings + "/home", settings + "/repos", settings + "/vars", settings + "/work"] {
      try makeDirectory(directory, mode: 0o755)
    }
    try write(Array(Self.macros.utf8), to: settings + "/home/.rpmmacros", mode: 0o644)
    try write(Array(configuration(settings).utf8), to: settings + "/dnf.conf", mode: 0o644)
    let keys = try base.keys.map { try self.keys($0, settings) }
    try write(Array(Self.repositories(base, keys).utf8), to: settings + "/repos/recipe.repo", mode: 0o644)
    let dnf = [
      "dnf", "--config=\(settings)/dnf.conf", "--assumeyes", "--installroot=\(root)", "--releasever=\(base.release)",
      "--forcearch=\(architecture == "arm64" ? "aarch64" : "x86_64")", "install",
    ]
    try isolated(
      ["sh", "-euc", Self.install, "sh", root, settings] + dnf + recipe.packages, program: "dnf", package: "dnf",
      purpose: "Making the RPM tree")
  }

  /// Where distributions keep rpm's database now; a build of rpm may have another place for it, such as Debian's the
  /// user's home. Of what is mounted in the tree packages change nothing.
  private static let macros = """
    %_dbpath /usr/lib/sysimage/rpm
    %_netsharedpath /dev:/proc:/run:/sys

    """

  /// dnf looks for its directories below the tree first. What it fetches and writes down it has in a directory that is
  /// mounted there, so that nothing of it stays.
  private func configuration(_ settings: String) -> String {
    """
    [main]
    best=1
    install_weak_deps=0
    plugins=0
    retries=3
    timeout=30
    reposdir=\(settings)/repos
    varsdir=\(settings)/vars
    cachedir=/run/dnf/cache
    logdir=/run/dnf/log
    persistdir=/run/dnf/state

    """
  }

  /// Addresses of keys: of this host's files there are copies, whose paths are absolute and have nothing odd in them.
  private func keys(_ keys: [String], _ settings: String) throws -> [String] {
    try keys.enumerated().map { number, key in
      if key.contains("://") { return key }
      let copy = "\(settings)/key\(number + 1)"
      try write(try readFile(key, limit: 1 << 20), to: copy, mode: 0o644)
      return "file://" + copy
    }
  }

  private static func repositories(_ base: Recipe.RPM, _ keys: [String]?) -> String {
    let check = keys.map { "gpgcheck=1\ngpgkey=" + $0.joined(separator: "\n  ") }
    return base.repositories.enumerated().map { number, address in
      """
      [repo\(number + 1)]
      name=\(address)
      baseurl=\(address)
      \(check ?? "gpgcheck=0")

      """
    }.joined(separator: "\n")
  }

  /// `$1` is the tree, `$2` the directory of settings, then dnf's command. Where the tree's own rpm has its database in
  /// another place, it is put there.
  private static let install = """
    tree=$1; settings=$2; shift 2
    \(mounts)
    mkdir run/dnf; mount --bind "$settings/work" run/dnf
    (cd / && HOME=$settings/home "$@") </dev/null
    cat >run/place-database <<'END'
    from=/usr/lib/sysimage/rpm; to=$(/usr/bin/rpm --eval '%{_dbpath}')
    case $to in /*) ;; *) exit 0 ;; esac
    mkdir -p "$to"
    [ ! "$from" -ef "$to" ] || exit 0
    mv -f "$from"/* "$to/"
    rm -f "$from"/.[!.]*
    rmdir "$from"
    END
    if [ -x usr/bin/rpm ]; then
      env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 chroot . /bin/sh -eu /run/place-database
    fi
    """
}
