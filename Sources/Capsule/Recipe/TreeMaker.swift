import CapsuleFormat

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The steps of a recipe, in a directory.
struct TreeMaker {
  let recipe: Recipe
  /// The directory to make; it is not there yet.
  let root: String
  let scratch: ScratchDirectory
  let limits: SourceLimits
  let architecture: String
  let progress: ProgressHandler

  /// - Throws: `CapsuleError`, or `CancellationError`.
  func make() throws {
    try makeBase()
    // What mmdebstrap and dnf make, they make with the packages.
    if case .source = recipe.base, !recipe.packages.isEmpty { try installPackages() }
    for file in recipe.files { try place(file) }
    if let capsule = recipe.capsule {
      try place(Recipe.File(path: CapsuleSettings.path, content: .text(capsule)))
    }
    for (number, command) in recipe.commands.enumerated() {
      say("running command \(number + 1) of \(recipe.commands.count)")
      try run(command, purpose: "Command \(number + 1) of the recipe")
    }
    try place(Recipe.File(path: CapsuleSettings.directory + "/recipe.yaml", content: .text(recipe.text), mode: 0o644))
  }

  func say(_ note: String) {
    progress(BuildProgress(phase: .making, completedBytes: 0, totalBytes: nil, note: note))
  }

  // MARK: - The base

  private func makeBase() throws {
    switch recipe.base {
    case .debian(let base): try bootstrap(base)
    case .rpm(let base): try installRPM(base)
    case .source(let source): try unpack(source)
    }
  }

  private func bootstrap(_ base: Recipe.Debian) throws {
    say("making Debian \(base.suite) with mmdebstrap")
    var command = ["mmdebstrap", "--mode=root", "--format=directory", "--variant=\(base.variant)"]
    command.append("--architectures=\(architecture)")
    command.append("--components=\(base.components.joined(separator: ","))")
    if !recipe.packages.isEmpty { command.append("--include=\(recipe.packages.joined(separator: ","))") }
    try isolated(
      command + ["--", base.suite, root] + base.mirrors, program: "mmdebstrap", package: "mmdebstrap",
      purpose: "Making the Debian tree")
  }

  /// A source as a directory, unpacked by tar.
  private func unpack(_ source: String) throws {
    say("unpacking \(source)")
    let reader = SourceReader(
      temporaryDirectory: scratch.path, limits: limits, architecture: architecture, progress: progress)
    let file = try FileDescriptor.unnamed(in: scratch.path)
    let tree = try reader.read(source)
    var stream = TarStream(tree, try StreamPlan(tree, settled: 0))
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
    defer { buffer.deallocate() }
    while true {
      try Task.checkCancellation()
      let count = try stream.fill(buffer)
      guard file.writeAll(UnsafeRawBufferPointer(rebasing: buffer[..<count])) else {
        throw CapsuleError.writing(scratch.path, errno: errno)
      }
      if count < buffer.count { break }
    }
    guard lseek(file.number, 0, SEEK_SET) == 0 else { throw CapsuleError.reading(scratch.path, errno: errno) }
    try makeDirectory(root, mode: 0o755)
    try Tool(
      [
        "tar", "--extract", "--preserve-permissions", "--same-owner", "--numeric-owner", "--xattrs",
        "--xattrs-include=*", "--directory", root,
      ], package: "tar", purpose: "Unpacking \(source)", timeLimit: recipe.stepSeconds
    ).run(input: file.number)
  }

  private func installPackages() throws {
    say("installing \(recipe.packages.count) packages")
    let packages = recipe.packages.map { "'" + $0.replacing("'", with: "'\\''") + "'" }.joined(separator: " ")
    try run(
      """
      if command -v apt-get >/dev/null; then
        apt-get -q update && apt-get -q -y install --no-install-recommends \(packages) && apt-get clean
      elif command -v dnf >/dev/null; then
        dnf -y install \(packages) && dnf clean all
      elif command -v zypper >/dev/null; then
        zypper --non-interactive install \(packages)
      else
        echo 'the tree has none of apt-get, dnf and zypper' >&2; exit 1
      fi
      """, purpose: "Installing the packages")
  }

  // MARK: - In the tree

  /// Runs a script in the tree, with /proc, /sys, /dev and the host's name resolution, all of which is gone with it.
  private func run(_ script: String, purpose: String) throws {
    try isolated(
      ["sh", "-euc", Self.enter, "sh", root, script], program: nil, package: "util-linux", purpose: purpose)
    // The name resolution was lent: what it was mounted on may have been made for it.
    let lent = root + "/etc/resolv.conf.perseid"
    if access(lent, F_OK) == 0 { unlink(lent) }
  }

  /// `$tree` becomes the current directory, with what programs expect to be mounted in one. Mounts are the name space's
  /// own.
  static let mounts = """
    mount --bind "$tree" "$tree"; cd "$tree"
    for directory in proc sys dev tmp run; do [ -d "$directory" ] || mkdir "$directory"; done
    mount -t proc proc proc
    mount -t tmpfs -o mode=0755 dev dev
    mkdir dev/pts dev/shm
    for device in null zero full random urandom tty; do : >dev/$device; mount --bind /dev/$device dev/$device; done
    mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts 2>/dev/null || :
    ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd; ln -s fd/0 dev/stdin; ln -s fd/1 dev/stdout
    ln -s fd/2 dev/stderr
    mount -t tmpfs -o mode=0755 run run
    mount -t sysfs -o ro sysfs sys 2>/dev/null || :
    """

  /// `$1` is the tree, `$2` the script. The file that the host's resolv.conf is mounted on, where the tree has none or
  /// only a link, is taken away again.
  private static let enter = """
    tree=$1
    \(mounts)
    saved=; made=
    if [ -d etc ] && [ -e /etc/resolv.conf ]; then
      if [ -L etc/resolv.conf ]; then mv etc/resolv.conf etc/.resolv.conf.link; saved=1; fi
      if [ ! -e etc/resolv.conf ]; then : >etc/resolv.conf; made=1; fi
      mount --bind /etc/resolv.conf etc/resolv.conf
    fi
    policy=
    if [ -d usr/sbin ] && [ ! -e usr/sbin/policy-rc.d ]; then
      printf '#!/bin/sh\\nexit 101\\n' >usr/sbin/policy-rc.d; chmod 755 usr/sbin/policy-rc.d; policy=1
    fi
    result=0
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \\
      DEBIAN_FRONTEND=noninteractive chroot . /bin/sh -euc "$2" || result=$?
    umount etc/resolv.conf 2>/dev/null || :
    [ -z "$made" ] || rm -f etc/resolv.conf
    [ -z "$saved" ] || mv etc/.resolv.conf.link etc/resolv.conf
    [ -z "$policy" ] || rm -f usr/sbin/policy-rc.d
    exit $result
    """

  /// Runs a program where its mounts and processes are its own.
  ///
  /// - Parameters:
  ///   - program: What the command comes down to, and what a failure is said of; `nil` for what the tree itself has.
  ///   - package: The Debian package of that program.
  func isolated(_ command: [String], program: String?, package: String, purpose: String) throws {
    if let program, !Self.isThere(program) {
      throw CapsuleError(
        .tool, "\(purpose) failed: the program '\(program)' is not there",
        remedy: "Install the package \(package): apt-get install \(package)")
    }
    var tool = Tool(
      ProgramEnd.withThisProcess
        + ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
        + command, package: package, purpose: purpose, timeLimit: recipe.stepSeconds)
    tool.program = program
    try tool.run { line in
      progress(BuildProgress(phase: .making, completedBytes: 0, totalBytes: nil, note: "  " + line))
    }
  }

  private static func isThere(_ program: String) -> Bool {
    let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/sbin:/usr/bin:/sbin:/bin"
    return path.split(separator: ":").contains { access("\($0)/\(program)", X_OK) == 0 }
  }

  func makeDirectory(_ path: String, mode: mode_t) throws(CapsuleError) {
    guard mkdir(path, mode) == 0 || errno == EEXIST else { throw .writing(path, errno: errno) }
  }

  // MARK: - Files

  private func place(_ file: Recipe.File) throws {
    do {
      try put(file)
    } catch let error as CapsuleError where error.code == .storage {
      throw failed(file, error.problem.replacing(root, with: "the tree's "))
    }
  }

  private func put(_ file: Recipe.File) throws {
    let path = try placeFor(file.path)
    var status = stat()
    if lstat(path, &status) == 0 {
      guard status.st_mode & S_IFMT != S_IFDIR else {
        throw failed(file, "there is a directory of that name in the tree")
      }
      unlink(path)
    }
    switch file.content {
    case .link(let target):
      guard symlink(target, path) == 0 else { throw CapsuleError.writing(path, errno: errno) }
    case .text(let text): try write(Array(text.utf8), to: path, mode: file.mode ?? 0o644)
    case .source(let source):
      let source = source.hasPrefix("/") ? source : "\(recipe.directory)/\(source)"
      guard stat(source, &status) == 0 else { throw CapsuleError.reading(source, errno: errno) }
      // A program stays one.
      let mode = file.mode ?? (status.st_mode & 0o111 != 0 ? 0o755 : 0o644)
      try write(try readFile(source, limit: 1 << 30), to: path, mode: mode)
    }
    if let owner = file.owner {
      let numbers = try ids(owner, file)
      guard lchown(path, numbers.user, numbers.group) == 0 else { throw CapsuleError.writing(path, errno: errno) }
      // A change of owner takes set-user-ID away.
      if let mode = file.mode, case .text = file.content { chmod(path, mode_t(mode)) }
      if let mode = file.mode, case .source = file.content { chmod(path, mode_t(mode)) }
    }
  }

  private func failed(_ file: Recipe.File, _ reason: String) -> CapsuleError {
    CapsuleError(.badSettings, "The file /\(file.path) of the recipe cannot be placed: \(reason)", remedy: "Change it")
  }

  func write(_ bytes: [UInt8], to path: String, mode: UInt32) throws(CapsuleError) {
    guard let file = FileDescriptor.open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600),
      bytes.withUnsafeBytes({ file.writeAll($0) }), fchmod(file.number, mode_t(mode)) == 0
    else { throw .writing(path, errno: errno) }
  }

  /// Where a path of the tree is on the host: its directories are made, and links among them lead nowhere but into the
  /// tree.
  private func placeFor(_ path: String) throws -> String {
    var pending = Array(path.split(separator: "/").map(String.init).reversed())
    var trail: [String] = []
    var links = 0
    while pending.count > 1, let component = pending.popLast() {
      if component == "." { continue }
      if component == ".." {
        trail = Array(trail.dropLast())
        continue
      }
      let here = ([root] + trail + [component]).joined(separator: "/")
      var target = [CChar](repeating: 0, count: 4096)
      let length = readlink(here, &target, target.count)
      if length > 0 {
        links += 1
        guard links <= 40 else {
          throw CapsuleError(.badSettings, "/\(path) leads from link to link in the tree", remedy: "Change the recipe")
        }
        let text = String(decoding: target.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        if text.hasPrefix("/") { trail = [] }
        pending += text.split(separator: "/").map(String.init).reversed()
        continue
      }
      try makeDirectory(here, mode: 0o755)
      trail.append(component)
    }
    return ([root] + trail + pending).joined(separator: "/")
  }

  private func ids(_ owner: String, _ file: Recipe.File) throws -> (user: UInt32, group: UInt32) {
    let parts = owner.split(separator: ":").map(String.init)
    func number(_ name: String, _ table: String) throws -> UInt32 {
      if let number = UInt32(name) { return number }
      let text = (try? readFile(try placeFor("etc/" + table), limit: 16 << 20)) ?? []
      for line in String(decoding: text, as: UTF8.self).split(whereSeparator: \.isNewline) {
        let fields = line.split(separator: ":", omittingEmptySubsequences: false)
        if fields.count > 2, fields[0] == name, let number = UInt32(fields[2]) { return number }
      }
      throw failed(file, "the tree's /etc/\(table) has no '\(name)'")
    }
    return (try number(parts[0], "passwd"), try number(parts[1], "group"))
  }
}
