import Glibc
import StateClient
import TestSupport
import Testing

/// Each module that comes with perseid, run for real: its scripts by the runner of stage 1, with both shells, in a
/// tree as Debian has it and in one as RPM systems have it.
@Suite("The modules that are shipped", .timeLimit(.minutes(5)))
struct ShippedModuleTests {
  private static let modules: String = {
    let folders = #filePath.split(separator: "/").dropLast(3)
    return "/" + (folders + ["etc", "modules"]).joined(separator: "/")
  }()

  static let shells = ["/bin/busybox sh", "/bin/dash"]

  enum Layout: String, CaseIterable { case debian, networkd, rpm, oldRPM, suse }

  /// A node's root, as small as it can be.
  private struct Root: ~Copyable {
    let path = "/tmp/perseid-modules-\(getpid())-\(UInt64.random(in: 0 ... .max))"
    let shell: String
    var environment = [
      "NODENAME": "n0005", "STATE": "init", "MASTER": "10.0.0.1", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    ]

    init(_ layout: Layout, _ shell: String) throws {
      self.shell = shell
      environment["DESTDIR"] = path
      try write(
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nmunge:x:110:118::/:/bin/false\nuser:x:1000:1000::/home/user:/bin/sh\n")
      try write("/etc/group", "root:x:0:\nmunge:x:118:\n")
      try write("/root/.ssh/authorized_keys", "ssh-ed25519 AAAA root@master\n")
      switch layout {
      case .debian:
        try write("/usr/sbin/ifup", "")
        try write("/etc/network/interfaces", "auto lo\niface lo inet loopback\n")
        try write("/etc/chrony/chrony.conf", "pool 2.debian.pool.ntp.org iburst\nmakestep 1 3\n")
        try write("/etc/modules", "loop\n")
        try write("/etc/default/slurmd", "# none\n")
        try write("/sbin/mount.nfs", "")
      case .networkd:
        try write("/usr/lib/systemd/systemd-networkd", "")
        try write("/usr/lib/systemd/systemd-timesyncd", "")
        try write("/usr/sbin/mount.nfs", "")
      case .rpm:
        try write("/etc/NetworkManager/NetworkManager.conf", "")
        try write("/usr/sbin/NetworkManager", "")
        try write("/etc/chrony.conf", "server 0.centos.pool.ntp.org iburst\ndriftfile /var/lib/chrony/drift\n")
        try write("/etc/sysconfig/network", "NETWORKING=yes\n")
        try write("/usr/sbin/mount.nfs", "")
        for unit in ["sshd-keygen@", "munge", "slurmd"] { try write("/usr/lib/systemd/system/\(unit).service", "") }
        try write("/etc/sysconfig/slurmd", "# none\n")
      case .oldRPM:
        try write("/etc/sysconfig/network-scripts/ifcfg-lo", "DEVICE=lo\n")
        // As the alternatives have it: a link that is followed from the node's root alone.
        try RootedPath(path).link("/usr/sbin/ifup", to: "/etc/alternatives/ifup")
        try write("/usr/sbin/sshd-keygen", "")
        try write("/etc/sysconfig/sshd", "OPTIONS=\nAUTOCREATE_SERVER_KEYS=ED25519\n")
        try write("/etc/ntp.conf", "server 0.centos.pool.ntp.org\n")
        try write("/etc/sysconfig/network", "NETWORKING=yes\nHOSTNAME=localhost\n")
      case .suse:
        try write("/etc/sysconfig/network/config", "")
        try write("/usr/sbin/wicked", "")
        try write("/usr/sbin/ifup", "")
        try write("/etc/chrony.conf", "include /etc/chrony.d/*.conf\n")
        try write("/etc/chrony.d/pool.conf", "pool 2.opensuse.pool.ntp.org iburst\n")
      }
    }

    deinit { _ = try? ScriptRunner().run("/bin/rm", arguments: ["-rf", path], environment: [:]) }

    func write(_ file: String, _ text: String) throws {
      try RootedPath(path).replace(file, with: Array(text.utf8), mode: 0o644)
    }

    func text(_ file: String) -> String? {
      (try? SmallFile.read(path + file)).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Where a symbolic link leads.
    func link(_ file: String) -> String? {
      var target = [CChar](repeating: 0, count: 256)
      let count = readlink(path + file, &target, target.count)
      return count < 0 ? nil : String(decoding: target.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    func lines(_ file: String) -> [String] { (text(file) ?? "").split(separator: "\n").map(String.init) }

    @discardableResult
    func run(_ script: String, _ variables: [String: String] = [:]) throws -> ScriptRunner.Result {
      let words = shell.split(separator: " ").map(String.init)
      var runner = ScriptRunner()
      runner.timeLimit = 120
      return try runner.run(
        words[0], arguments: Array(words.dropFirst()) + [ShippedModuleTests.modules + "/" + script],
        environment: environment.merging(variables) { _, new in new })
    }
  }

  private func ok(_ result: ScriptRunner.Result, _ place: SourceLocation = #_sourceLocation) {
    #expect(result.exitCode == 0, "\(result.output)", sourceLocation: place)
  }

  @Test("hostname writes the name where Debian and where RPM systems look", arguments: shells, Layout.allCases)
  func hostname(shell: String, layout: Layout) throws {
    let root = try Root(layout, shell)
    ok(try root.run("hostname/nodescripts/init/60-hostname"))
    #expect(root.text("/etc/hostname") == "n0005\n")
    ok(try root.run("hostname/nodescripts/init/60-hostname", ["hostname_domain": "example.org"]))
    #expect(root.text("/etc/hostname") == "n0005.example.org\n")
    if layout == .oldRPM {
      #expect(root.text("/etc/sysconfig/network") == "NETWORKING=yes\nHOSTNAME=n0005.example.org\n")
    }
  }

  static let pattern =
    "eth1:10.1.0.[n+10]/16/10.1.0.254 ib0:10.2.0.[n]/16@mtu=2044 bond0:10.3.0.[n]/24@bond=eth2+eth3@mode=802.3ad bond0.7:10.7.0.[n]/16@vlan=bond0 eth9:dhcp"

  @Test(
    "ipaddr keeps addresses, bonds, VLANs and InfiniBand for what the system has", arguments: shells, Layout.allCases)
  func ipaddr(shell: String, layout: Layout) throws {
    let root = try Root(layout, shell)
    for _ in 0..<2 { ok(try root.run("ipaddr/nodescripts/init/60-ipaddr", ["ipaddr": Self.pattern])) }
    switch layout {
    case .debian:
      #expect(root.lines("/etc/network/interfaces").last == "source /etc/network/interfaces.d/*")
      let eth1 = root.lines("/etc/network/interfaces.d/eth1")
      #expect(eth1 == ["auto eth1", "iface eth1 inet static", "  address 10.1.0.15/16", "  gateway 10.1.0.254"])
      #expect(root.lines("/etc/network/interfaces.d/bond0").contains("  bond-slaves eth2 eth3"))
      #expect(root.lines("/etc/network/interfaces.d/bond0.7").contains("  vlan-raw-device bond0"))
      #expect(root.lines("/etc/network/interfaces.d/ib0").contains("  mtu 2044"))
      #expect(root.lines("/etc/network/interfaces.d/eth9").contains("iface eth9 inet dhcp"))
    case .networkd:
      let eth1 = root.lines("/etc/systemd/network/10-eth1.network")
      #expect(eth1 == ["[Match]", "Name=eth1", "[Network]", "Address=10.1.0.15/16", "Gateway=10.1.0.254"])
      #expect(root.lines("/etc/systemd/network/10-bond0.netdev").contains("Mode=802.3ad"))
      #expect(root.lines("/etc/systemd/network/10-eth3.network").contains("Bond=bond0"))
      #expect(root.lines("/etc/systemd/network/10-bond0.7.netdev").contains("Id=7"))
      #expect(root.lines("/etc/systemd/network/10-bond0.network.d/bond0.7.conf").contains("VLAN=bond0.7"))
      #expect(root.lines("/etc/systemd/network/10-bond0.network").contains("Address=10.3.0.5/24"))
      var link = stat()
      #expect(
        lstat(root.path + "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service", &link) == 0,
        "it is started")
    case .rpm:
      let eth1 = root.lines("/etc/NetworkManager/system-connections/eth1.nmconnection")
      #expect(eth1.contains("address1=10.1.0.15/16,10.1.0.254") && eth1.contains("type=ethernet"))
      #expect(root.lines("/etc/NetworkManager/system-connections/ib0.nmconnection").contains("type=infiniband"))
      #expect(root.lines("/etc/NetworkManager/system-connections/ib0.nmconnection").contains("mtu=2044"))
      #expect(root.lines("/etc/NetworkManager/system-connections/eth2.nmconnection").contains("master=bond0"))
      #expect(root.lines("/etc/NetworkManager/system-connections/bond0.7.nmconnection").contains("parent=bond0"))
      var status = stat()
      stat(root.path + "/etc/NetworkManager/system-connections/eth1.nmconnection", &status)
      #expect(status.st_mode & 0o7777 == 0o600, "NetworkManager ignores files that others may read")
    case .oldRPM:
      let eth1 = root.lines("/etc/sysconfig/network-scripts/ifcfg-eth1")
      #expect(eth1.contains("IPADDR=10.1.0.15") && eth1.contains("NETMASK=255.255.0.0"))
      #expect(root.lines("/etc/sysconfig/network-scripts/ifcfg-eth2").contains("MASTER=bond0"))
      #expect(root.lines("/etc/sysconfig/network-scripts/ifcfg-bond0.7").contains("PHYSDEV=bond0"))
      #expect(root.lines("/etc/sysconfig/network-scripts/ifcfg-ib0").contains("TYPE=InfiniBand"))
    case .suse:
      let eth1 = root.lines("/etc/sysconfig/network/ifcfg-eth1")
      #expect(eth1 == ["STARTMODE='auto'", "BOOTPROTO='static'", "IPADDR='10.1.0.15/16'"])
      #expect(root.text("/etc/sysconfig/network/ifroute-eth1") == "default 10.1.0.254 - eth1\n")
      let bond = root.lines("/etc/sysconfig/network/ifcfg-bond0")
      #expect(bond.contains("BONDING_SLAVE_0='eth2'") && bond.contains("BONDING_SLAVE_1='eth3'"))
      #expect(root.lines("/etc/sysconfig/network/ifcfg-bond0.7").contains("VLAN_ID='7'"))
      #expect(root.lines("/etc/sysconfig/network/ifcfg-eth9").contains("BOOTPROTO='dhcp4'"))
    }
  }

  @Test(
    "ipaddr refuses what is no entry, and says which",
    arguments: shells,
    [
      "eth1", "eth1:10.0.0.1", "eth1:10.0.0.[n+300]/16", "eth1:10.0.0.1/33", "../x:10.0.0.1/8", "eth1:dhcp@speed=1",
      "x:dhcp@vlan=eth0", "eth1:10.0.0.[n*2]/8",
    ])
  func ipaddrMistakes(shell: String, entry: String) throws {
    let root = try Root(.debian, shell)
    let result = try root.run("ipaddr/nodescripts/init/60-ipaddr", ["ipaddr": entry])
    #expect(result.exitCode == 1 && result.output.hasPrefix("ipaddr: "), "\(result.output)")
  }

  @Test("modprobe writes what is loaded, kept out and set", arguments: shells, [Layout.debian, .rpm])
  func modprobe(shell: String, layout: Layout) throws {
    let root = try Root(layout, shell)
    let variables = [
      "modprobe_load": "ib_ipoib ib_umad", "modprobe_blacklist": "nouveau",
      "modprobe_options": "e1000e IntMode=1; mlx4_core debug=1",
    ]
    for _ in 0..<2 { ok(try root.run("modprobe/nodescripts/init/60-modprobe", variables)) }
    #expect(root.text("/etc/modules-load.d/perseid.conf") == "ib_ipoib\nib_umad\n")
    #expect(
      root.lines("/etc/modprobe.d/perseid.conf")
        == ["blacklist nouveau", "options e1000e IntMode=1", "options mlx4_core debug=1"])
    if layout == .debian { #expect(root.text("/etc/modules") == "loop\nib_ipoib\nib_umad\n") }
  }

  @Test("passwdfile and groupfile replace and add the site's lines and keep the system's", arguments: shells)
  func accounts(shell: String) throws {
    let root = try Root(.rpm, shell)
    try root.write(
      "/etc/perseid/passwd", "# site\nuser:x:1000:1000::/home/user:/bin/zsh\nann:x:2000:2000::/home/ann:/bin/sh\n")
    for _ in 0..<2 { ok(try root.run("passwdfile/nodescripts/60-passwdfile")) }
    #expect(
      root.lines("/etc/passwd") == [
        "root:x:0:0:root:/root:/bin/sh", "munge:x:110:118::/:/bin/false", "user:x:1000:1000::/home/user:/bin/zsh",
        "ann:x:2000:2000::/home/ann:/bin/sh",
      ])
    try root.write("/etc/perseid/group", "ann:x:2000:user\n")
    ok(try root.run("groupfile/nodescripts/60-groupfile"))
    #expect(root.lines("/etc/group") == ["root:x:0:", "munge:x:118:", "ann:x:2000:user"])
    try root.write("/etc/perseid/group", "ann 2000\n")
    #expect(try root.run("groupfile/nodescripts/60-groupfile").output.contains("line 1 is none of /etc/group"))
  }

  @Test("masterauth leaves the node's own host key alone and removes those of the capsule", arguments: shells)
  func masterauth(shell: String) throws {
    let root = try Root(.debian, shell)
    try root.write("/etc/ssh/ssh_host_rsa_key", "capsule's")
    #expect(try root.run("masterauth/nodescripts/init/60-masterauth").exitCode == 1)
    try root.write("/etc/ssh/ssh_host_ed25519_key", "own")
    ok(try root.run("masterauth/nodescripts/init/60-masterauth"))
    #expect(SmallFile.names(in: root.path + "/etc/ssh") == ["ssh_host_ed25519_key"])
    var status = stat()
    stat(root.path + "/root/.ssh", &status)
    #expect(status.st_mode & 0o777 == 0o700)
  }

  @Test("masterauth keeps RPM systems from making host keys of other kinds at each start", arguments: shells)
  func keyGeneration(shell: String) throws {
    for layout in [Layout.rpm, .oldRPM] {
      let root = try Root(layout, shell)
      try root.write("/etc/ssh/ssh_host_ed25519_key", "own")
      for _ in 0..<2 { ok(try root.run("masterauth/nodescripts/init/60-masterauth")) }
      if layout == .oldRPM {
        #expect(root.text("/etc/sysconfig/sshd") == "OPTIONS=\nAUTOCREATE_SERVER_KEYS=NO\n")
      } else {
        for kind in ["rsa", "ecdsa"] {
          #expect(root.link("/etc/systemd/system/sshd-keygen@\(kind).service") == "/dev/null")
        }
        #expect(root.link("/etc/systemd/system/sshd-keygen@ed25519.service") == nil)
      }
    }
  }

  @Test("slurm has munge and slurmd started where the system does not by itself", arguments: shells)
  func slurmUnits(shell: String) throws {
    let root = try Root(.rpm, shell)
    try root.write("/etc/munge/munge.key", "key")
    for _ in 0..<2 { ok(try root.run("slurm/nodescripts/60-slurm", ["slurm_controller": "ctl:6817"])) }
    #expect(root.lines("/etc/sysconfig/slurmd") == ["# none", "SLURMD_OPTIONS=\"--conf-server ctl:6817\""])
    for unit in ["munge", "slurmd"] {
      #expect(
        root.link("/etc/systemd/system/multi-user.target.wants/\(unit).service")
          == "/usr/lib/systemd/system/\(unit).service")
    }
  }

  @Test("timesync sets the servers of what the capsule has", arguments: shells, Layout.allCases)
  func timesync(shell: String, layout: Layout) throws {
    let root = try Root(layout, shell)
    ok(try root.run("timesync/nodescripts/init/60-timesync"))
    for _ in 0..<2 {
      ok(try root.run("timesync/nodescripts/init/60-timesync", ["timesync_servers": "10.0.0.2 10.0.0.3"]))
    }
    let servers = ["server 10.0.0.2 iburst", "server 10.0.0.3 iburst"]
    switch layout {
    case .debian: #expect(root.lines("/etc/chrony/chrony.conf") == servers + ["makestep 1 3"])
    case .rpm:
      #expect(root.lines("/etc/chrony.conf") == ["driftfile /var/lib/chrony/drift"] + servers + ["makestep 1 3"])
    case .suse:
      #expect(root.lines("/etc/chrony.conf") == ["include /etc/chrony.d/*.conf"] + servers + ["makestep 1 3"])
      #expect(root.text("/etc/chrony.d/pool.conf") == "")
    case .oldRPM: #expect(root.lines("/etc/ntp.conf") == servers)
    case .networkd:
      #expect(root.lines("/etc/systemd/timesyncd.conf.d/perseid.conf") == ["[Time]", "NTP=10.0.0.2 10.0.0.3"])
    }
  }

  @Test("mounts writes fstab's lines once, whatever it was before", arguments: shells, [Layout.debian, .rpm])
  func mounts(shell: String, layout: Layout) throws {
    let root = try Root(layout, shell)
    try root.write("/etc/fstab", "tmpfs /tmp tmpfs defaults 0 0\n")
    let mounts = "10.0.0.1:/home=/home 10.0.0.1:/opt=/opt=ro,nfsvers=4 /dev/sda1=/scratch=noatime=xfs"
    for _ in 0..<2 { ok(try root.run("mounts/nodescripts/init/60-mounts", ["mounts": mounts])) }
    #expect(
      root.lines("/etc/fstab") == [
        "tmpfs /tmp tmpfs defaults 0 0", "10.0.0.1:/home /home nfs _netdev,nofail,x-perseid 0 0",
        "10.0.0.1:/opt /opt nfs ro,nfsvers=4,_netdev,nofail,x-perseid 0 0",
        "/dev/sda1 /scratch xfs noatime,nofail,x-perseid 0 0",
      ])
    #expect(SmallFile.exists(root.path + "/scratch"))
    #expect(try root.run("mounts/nodescripts/init/60-mounts", ["mounts": "/dev/sda1=scratch"]).exitCode == 1)
  }

  @Test("slurm gives slurmd its controller where it has no configuration of its own", arguments: shells)
  func slurm(shell: String) throws {
    let root = try Root(.debian, shell)
    try root.write("/etc/munge/munge.key", "key")
    #expect(try root.run("slurm/nodescripts/60-slurm").output.contains("slurm_controller"))
    for _ in 0..<2 { ok(try root.run("slurm/nodescripts/60-slurm", ["slurm_controller": "ctl:6817"])) }
    #expect(root.lines("/etc/default/slurmd") == ["# none", "SLURMD_OPTIONS=\"--conf-server ctl:6817\""])
    try root.write("/etc/slurm/slurm.conf", "ClusterName=c\n")
    ok(try root.run("slurm/nodescripts/60-slurm"))
  }

  @Test("syncnodes brings a node down for a new generation, and not before its users have gone", arguments: shells)
  func syncnodes(shell: String) throws {
    let root = try Root(.debian, shell)
    let script = "syncnodes/nodescripts/ready/90-syncnodes"
    try root.write("/proc/1/status", "Name:\tinit\nUid:\t0\t0\t0\t0\n")
    try root.write("/proc/77/status", "Name:\tjob\nUid:\t1000\t1000\t1000\t1000\n")
    var variables = [
      "SYNCNODES_PROC": root.path + "/proc", "syncnodes_uid": "1000", "syncnodes_command": "echo down",
      "VNFS": "debian-12", "GENERATION": "1", "ASSIGNED": "debian-12:1",
    ]
    #expect(try root.run(script, variables).output == "")
    variables["ASSIGNED"] = "debian-12:2"
    #expect(try root.run(script, variables).output == "debian-12:2 waits: process 77 of user 1000\n")
    try root.write("/proc/77/status", "Name:\tnobody\nUid:\t65534\t65534\n")
    #expect(try root.run(script, variables).output == "booting into debian-12:2\ndown\n")
  }
}
