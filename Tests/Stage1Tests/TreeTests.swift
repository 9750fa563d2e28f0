import CapsuleFormat
import Glibc
import Stage1
import StateClient
import Testing

/// A directory of a test's own, gone with it.
final class Workplace {
  let path = "/tmp/perseid-tree-\(getpid())-\(UInt64.random(in: 0 ... .max))"

  init() throws { try SmallFile.makeDirectories(path) }

  // Neither holds for every kind of file.
  deinit { _ = try? shell("chattr -R -i . || true; chmod -R u+rwx . || true; cd /; rm -rf \(path)") }

  /// Runs shell commands here, which must succeed.
  @discardableResult
  func shell(_ text: String) throws -> String {
    var runner = ScriptRunner()
    runner.outputLimit = 32 << 20
    runner.timeLimit = 600
    let script = path + "/.script"
    try SmallFile.write(script, Array("cd \(path) || exit 1\n\(text)\n".utf8), mode: 0o700)
    let result = try runner.run(
      "/bin/sh", arguments: ["-e", script], environment: ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"])
    guard result.exitCode == 0 else { throw Failed(description: "\(text): \(result.exitCode) \(result.output)") }
    return result.output
  }

  struct Failed: Error, CustomStringConvertible {
    var description: String
  }

  /// Unpacks a tar file as stage 1 does, in pieces that do not fit its blocks.
  func unpack(_ file: String, into directory: String) throws {
    mkdir("\(path)/\(directory)", 0o755)
    var consumer = try TreeConsumer("\(path)/\(directory)")
    let input = try OpenFile("\(path)/\(file)", flags: O_RDONLY)
    var piece = [UInt8](repeating: 0, count: 100_003)
    while true {
      let count = try check("read \(file)") { read(input.descriptor, &piece, piece.count) }
      if count == 0 { break }
      try piece.withUnsafeBytes { try consumer.consume(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
    }
    try consumer.finish()
  }

  /// All that can be seen of a tree: kinds, modes, owners, links, times, attributes, content and holes.
  func listing(_ directory: String) throws -> String {
    try shell(
      """
      cd \(directory)
      find . -printf '%p %y %m %U %G %n %T@ %l ' \\( -type f -printf '%s %b' -o -true \\) -printf '\\n' | sort
      find . \\( -type b -o -type c \\) -exec stat -c '%n %t %T' {} + | sort
      find . -links +1 -type f -printf '%p\\n' | sort | xargs -r ls -i |
        awk '{ if (!($1 in n)) n[$1] = ++count; print n[$1], $2 }'
      getfattr -h -d -m - -R . 2>/dev/null || true
      find . -type f -exec sha256sum {} + | sort -k2
      """)
  }
}

@Suite("Unpacking a tree", .enabled(if: geteuid() == 0, "owners and devices take root"))
struct TreeTests {
  @Test("gives what GNU tar gives: owners, modes, times, links, devices, attributes, holes, long names")
  func equalsTar() throws {
    let place = try Workplace()
    try place.shell(
      """
      mkdir -p in/dir/sub in/sticky in/sealed
      echo hello > in/dir/file; chown 1234:70000 in/dir/file; chmod 4755 in/dir/file
      ln in/dir/file in/hard; ln in/dir/file in/dir/sub/hard2
      ln -s /etc/passwd in/absolute; ln -s ../dir in/sub-link; ln -s nowhere in/dangling; chown -h 55:66 in/dangling
      mknod in/null c 1 3; mknod in/disk b 259 70000; mkfifo -m 600 in/pipe
      chmod 1777 in/sticky; chmod 2750 in/dir/sub; chown 0:42 in/dir/sub
      cp /bin/true in/ping; setcap cap_net_raw+ep in/ping
      setfattr -n user.colour -v red in/dir/file 2>/dev/null || true
      setfacl -m u:1234:rw in/dir/file; setfacl -d -m g:42:rx in/dir
      truncate -s 3M in/sparse; printf x | dd of=in/sparse bs=1 seek=1500000 conv=notrunc 2>/dev/null
      truncate -s 1M in/hole
      dd if=/dev/urandom of=in/big bs=1M count=3 2>/dev/null; : > in/empty
      long=$(printf 'l%.0s' $(seq 1 200)); mkdir -p in/$long/$long; echo deep > in/$long/$long/$long
      ln -s $long/$long/$long in/long-link; ln in/$long/$long/$long in/long-hard
      printf 'x' > "in/$(printf 'n\\303\\244me with space\\377')"
      chmod 500 in/sealed; echo s > in/sealed/inside
      touch -d '2001-02-03 04:05:06.123456789' in/dir/file; touch -h -d '1999-12-31' in/dangling
      find in -type d -exec touch -d '2010-01-01 00:00:00.5' {} +
      tar --xattrs --xattrs-include='*' --acls --sparse --format=posix -C in -cf tree.tar .
      mkdir theirs; tar --xattrs --xattrs-include='*' --acls --numeric-owner -C theirs -xpf tree.tar
      """)
    try place.unpack("tree.tar", into: "ours")
    let ours = try place.listing("ours")
    let theirs = try place.listing("theirs")
    #expect(ours.split(separator: "\n").count > 40)
    #expect(ours == theirs)
    // Through tmpfs too, which is where a node's root is.
    #expect(ours.contains("security.capability"))
    #expect(ours.contains("system.posix_acl_default") || ours.contains("posix_acl"))
  }

  /// The Debian tree that the boot tests use, where it is made already.
  static let debian: String? = {
    let cache = getenv("PERSEID_CACHE").map { String(cString: $0) } ?? ".build/lab"
    // From here it is read by programs that run elsewhere.
    var place = [CChar](repeating: 0, count: Int(PATH_MAX))
    guard realpath(cache + "/bookworm.tar", &place) != nil else { return nil }
    return String(decoding: place.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }()

  @Test(
    "gives a whole Debian as GNU tar does, with lists of access, capabilities and SELinux labels added",
    .enabled(if: debian != nil, "the tests' Debian tree is not made yet"))
  func wholeSystem() throws {
    let place = try Workplace()
    try place.shell(
      """
      mkdir theirs; tar --numeric-owner --xattrs --xattrs-include='*' --acls -C theirs -xpf \(Self.debian ?? "")
      cd theirs
      find etc usr/share -type f | head -300 | xargs -d '\\n' setfacl -m u:1234:rw,g:77:r
      find etc usr/lib -type d | head -100 | xargs -d '\\n' setfacl -d -m g:42:rx,u:7:rwx
      find usr/bin -type f | head -40 | xargs -d '\\n' -n 1 setcap cap_net_raw,cap_net_admin+ep
      find . -exec setfattr -h -n security.selinux -v system_u:object_r:usr_t:s0 {} +
      find usr/bin -exec setfattr -h -n security.selinux -v system_u:object_r:bin_t:s0 {} +
      tar --xattrs --xattrs-include='*' --acls --sparse --format=posix -cf ../full.tar .
      """)
    try place.unpack("full.tar", into: "ours")
    let ours = try place.listing("ours")
    let theirs = try place.listing("theirs")
    #expect(ours == theirs)
    #expect(ours.count { $0 == "\n" } > 20_000)
    for words in ["security.capability", "system.posix_acl_access", "system.posix_acl_default", "bin_t"] {
      #expect(ours.contains(words))
    }
  }

  @Test("writes nothing outside, whatever the stream says")
  func staysInside() throws {
    let place = try Workplace()
    try place.shell(
      """
      mkdir out a b; ln -s ../out a/link; echo bad > b/evil; mkdir b/link; echo bad > b/link/evil
      tar -C a -cf one.tar link; tar -C b -rf one.tar link/evil
      """)
    #expect(throws: SystemError.self) { try place.unpack("one.tar", into: "target") }
    #expect(try place.shell("ls out") == "")
    // A file in a link's place takes the link's place.
    try place.shell(
      """
      mkdir c d; echo keep > out/victim; ln -s ../out/victim c/x; echo new > d/x
      tar -C c -cf two.tar x; tar -C d -rf two.tar x
      """)
    try place.unpack("two.tar", into: "second")
    #expect(try place.shell("cat out/victim; cat second/x; test ! -h second/x") == "keep\nnew\n")
  }

  @Test("refuses a stream that breaks off")
  func refusesTruncation() throws {
    let place = try Workplace()
    try place.shell(
      """
      mkdir in; head -c 200000 /dev/zero | tr '\\0' x > in/f
      tar -C in -cf t.tar f; head -c 100000 t.tar > cut.tar
      """)
    #expect(throws: TarError.self) { try place.unpack("cut.tar", into: "out") }
  }

  @Test(
    "directories have their own times and modes also where the stream comes back to them", .enabled(if: geteuid() == 0))
  func comesBack() throws {
    let place = try Workplace()
    try place.shell(
      """
      mkdir -p in/a/deep/er in/b; cd in
      for file in a/1 b/1 a/deep/er/1 a/2 b/2 a/deep/2 a/deep/er/2; do echo $file > $file; done
      chmod 0700 a/deep; chmod 2755 b; chown 12:34 a
      touch -d @1000000000.25 a/deep/er; touch -d @1100000000 a/deep; touch -d @1200000000.5 a b; touch -d @1300000000 .
      tar --format=posix --no-recursion -cf ../t.tar . a a/1 a/deep b b/1 a/deep/er a/deep/er/1 a/2 b/2 a/deep/2 a/deep/er/2
      """)
    try place.unpack("t.tar", into: "out")
    #expect(try place.listing("out") == place.listing("in"))
  }

  @Test("a later entry of the same name wins, and directories that the stream leaves out are made")
  func laterEntriesWin() throws {
    let place = try Workplace()
    try place.shell(
      """
      mkdir -p a/x/y b/x/y; echo one > a/x/y/f; echo two > b/x/y/f
      tar -C a -cf t.tar x/y/f; tar -C b -rf t.tar x/y/f
      """)
    try place.unpack("t.tar", into: "out")
    #expect(try place.shell("cat out/x/y/f; stat -c %a out/x") == "two\n755\n")
  }
}

@Suite("Preparing a root for its own init")
struct InstallTests {
  @Test("finds the init by the program that becomes it and by what the root has, links followed inside it")
  func findsInit() throws {
    let place = try Workplace()
    try place.shell(
      """
      mkdir -p s/usr/lib/systemd s/sbin o/sbin i/etc i/sbin i/bin b/sbin b/bin v/etc v/sbin v/usr/lib/systemd \
        u/etc/runit/runsvdir/default u/lib/runit u/sbin r/etc c/etc/init.d n
      ln -s usr/lib s/lib; : > s/usr/lib/systemd/systemd; ln -s /lib/systemd/systemd s/sbin/init
      : > o/sbin/openrc-run; : > o/sbin/init
      for busybox in i b; do : > $busybox/bin/busybox; ln -s /bin/busybox $busybox/sbin/init; done; : > i/etc/inittab
      : > v/etc/inittab; : > v/sbin/init; : > v/usr/lib/systemd/systemd
      : > u/lib/runit/runit-init; ln -s /lib/runit/runit-init u/sbin/init
      : > r/etc/rc.local; : > c/etc/init.d/rcS
      """)
    func found(_ name: String, _ program: String = "/sbin/init") -> NodeClientInstall.InitSystem {
      NodeClientInstall.initSystem(of: RootedPath("\(place.path)/\(name)"), program: program)
    }
    #expect(found("s") == .systemd)
    #expect(found("o") == .openRC)
    #expect(found("u") == .runit(services: "/etc/runit/runsvdir/default"))
    #expect(found("i") == .inittab("::respawn:/usr/lib/perseid/perseid-node run\n"))
    #expect(found("b") == .script("/etc/init.d/rcS"))
    #expect(found("v") == .inittab("prsd:2345:respawn:/usr/lib/perseid/perseid-node run\n"))
    #expect(found("v", "/usr/lib/systemd/systemd") == .systemd)
    #expect(found("r") == .script("/etc/rc.local"))
    #expect(found("c") == .script("/etc/init.d/rcS"))
    #expect(found("n") == .none)
  }

  @Test("puts the client and what starts it, once, however often it is done")
  func installs() throws {
    let place = try Workplace()
    try place.shell(
      """
      mkdir -p s/usr/lib/systemd r/etc i/etc u/etc/runit/runsvdir/default u/sbin o/sbin
      ln -s usr/lib s/lib; : > s/usr/lib/systemd/systemd; : > u/sbin/runit; ln -s runit u/sbin/init; : > o/sbin/openrc-run
      printf '#!/bin/sh\\nif false; then\\nexit 0\\nfi\\necho hi\\nexit 0\\n# The end.\\n' > r/etc/rc.local
      printf '::sysinit:/x' > i/etc/inittab; echo program > init
      """)
    for name in ["s", "r", "i", "u", "o"] {
      for _ in 0..<2 {
        try NodeClientInstall.install(
          into: RootedPath("\(place.path)/\(name)"), program: "\(place.path)/init", runtime: "\(place.path)/units",
          say: { _ in })
      }
    }
    let client = "s/usr/lib/perseid/perseid-node"
    #expect(try place.shell("cat \(client); stat -c %a \(client)") == "program\n755\n")
    #expect(try place.shell("cat units/multi-user.target.wants/perseid-node.service") == NodeClientInstall.unit)
    #expect(try place.shell("find s -newer init -name '*.service'") == "")
    // Before its last command: behind `exit 0` nothing would be run, and one inside a condition is no end.
    #expect(
      try place.shell("cat r/etc/rc.local")
        == "#!/bin/sh\nif false; then\nexit 0\nfi\necho hi\n" + NodeClientInstall.plain + "exit 0\n# The end.\n")
    #expect(
      try place.shell("cat i/etc/inittab") == "::sysinit:/x\nprsd:2345:respawn:/usr/lib/perseid/perseid-node run\n")
    #expect(try place.shell("cat u/etc/runit/runsvdir/default/perseid-node/run") == NodeClientInstall.runit)
    #expect(try place.shell("cat o/etc/runlevels/default/../../init.d/perseid-node") == NodeClientInstall.openRC)
  }

  @Test("labels what it puts as what was there, else as the directory above")
  func labels() throws {
    let place = try Workplace()
    try place.shell(
      """
      mkdir -p r/etc; echo old > r/etc/hostname
      setfattr -n security.selinux -v system_u:object_r:etc_t:s0 r/etc
      setfattr -n security.selinux -v system_u:object_r:hostname_etc_t:s0 r/etc/hostname
      """)
    let root = RootedPath("\(place.path)/r")
    try root.replace("/etc/hostname", with: Array("new".utf8), mode: 0o644)
    try root.replace("/etc/perseid/a/b", with: Array("new".utf8), mode: 0o644)
    let placer = FilePlacer(root: "\(place.path)/r")
    for path in ["/etc/hostname", "/etc/munge/munge.key"] {
      let file = FilePlacer.File(path: path, content: [1, 2], mode: 0o600, owner: "root", group: "root")
      #expect(try placer.place(file) == .replaced)
    }
    func label(_ path: String) -> String? {
      SecurityLabel.of("\(place.path)/r\(path)").map { String(decoding: $0, as: UTF8.self) }
    }
    #expect(label("/etc/hostname") == "system_u:object_r:hostname_etc_t:s0")
    for path in ["/etc/perseid", "/etc/perseid/a", "/etc/perseid/a/b", "/etc/munge", "/etc/munge/munge.key"] {
      #expect(label(path) == "system_u:object_r:etc_t:s0")
    }
    try place.shell("mkdir plain")
    try RootedPath("\(place.path)/plain").replace("/x", with: [1], mode: 0o644)
    #expect(SecurityLabel.of("\(place.path)/plain/x") == nil)
  }

  @Test("follows links inside the root alone")
  func resolves() throws {
    let place = try Workplace()
    try place.shell("mkdir -p r/a; ln -s /etc r/abs; ln -s ../../../.. r/a/up; ln -s loop r/loop")
    let root = RootedPath("\(place.path)/r")
    #expect(try root.resolve("/abs/passwd") == "\(place.path)/r/etc/passwd")
    #expect(try root.resolve("/a/up/x") == "\(place.path)/r/x")
    #expect(throws: SystemError.self) { try root.resolve("/loop/x") }
    #expect(!root.exists("/abs/passwd"))
    #expect(root.hasEntry("/abs"))
  }
}
