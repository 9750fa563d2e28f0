import Foundation
import Glibc
import Lab
import NetworkTypes
import Testing

@Suite("perseid node trace", .enabled(if: NetworkNamespace.isAvailable, "needs private namespaces"))
struct NodeTraceTests {
  /// Fields of the packets of a file that fit a filter, a line for each, as Wireshark reads them.
  private func packets(_ file: String, _ filter: String, _ fields: String...) async throws -> [String] {
    let arguments =
      ["tshark", "-n", "-r", file, "-d", "tcp.port==9870,http", "-Y", filter, "-T", "fields"]
      + fields.flatMap { ["-e", $0] }
    let result = try await Command(arguments).run(timeout: .seconds(120)).check()
    #expect(!result.errors.contains("cut short") && !result.errors.contains("damaged"), "\(result.errors)")
    return result.output.split(separator: "\n").map(String.init)
  }

  /// The message types of DHCP: 1 DISCOVER, 2 OFFER, 3 REQUEST, 5 ACK.
  private func exchanges(_ file: String, and filter: String = "") async throws -> [String] {
    try await packets(file, "dhcp\(filter.isEmpty ? "" : " && \(filter)")", "dhcp.option.dhcp")
  }

  @Test(
    "has the exchange that is over, as it was kept, and what passes from then on, whole, until Ctrl-C",
    .timeLimit(.minutes(5)))
  func keptAndLive() async throws {
    try await Site.with { site in
      let appliance = try Appliance(site, state: site.directory + "/state")
      try await appliance.start()
      let mac = MACAddress(rawValue: 0x5254_0000_0009)
      try await appliance.run("node", "add", "\(mac)", "n0009")
      try await site.withHost("client", mac: mac) { client in
        func ask() async throws {
          try await client.command(
            "busybox", "udhcpc", "-f", "-n", "-q", "-t", "10", "-T", "1", "-i", "eth0", "-s", "/bin/true",
            "-V", "PXEClient:Arch:00000:UNDI:002001"
          ).run(timeout: .seconds(60)).check()
        }
        try await ask()
        let kept = site.directory + "/kept.pcapng"
        let said = try await appliance.command("node", "trace", "n0009", "--kept", "-o", kept).run().check()
        #expect(said.errors.contains("4 packets"), "\(said.errors)")
        #expect(try await exchanges(kept) == ["1", "2", "3", "5"])
        #expect(
          try await packets(kept, "dhcp.option.dhcp == 5 && dhcp.hw.mac_addr == \(mac)", "ip.src") == ["10.77.0.1"])
        let about = try await Command("capinfos", "-t", "-E", kept).run().check().output
        #expect(about.contains("pcapng"), "\(about)")

        let file = site.directory + "/boot.pcapng"
        let trace = try RunningProcess(appliance.command("node", "trace", "n0009", "-o", file))
        _ = try await trace.log.line(containing: "waiting for its packets", within: .seconds(60))
        try await ask()
        let address = try #require(try await appliance.nodes().first?.address)
        try await client.ip("address", "add", "\(address)/24", "dev", "eth0")
        try await client.command(
          "busybox", "tftp", "-g", "-r", "undionly.kpxe", "-l", "/dev/null", "\(Site.serverAddress)"
        ).run(timeout: .seconds(60)).check()
        try await client.command("curl", "-sS", "http://\(Site.serverAddress):9870/ipxe?mac=\(mac)").run().check()
        // Packets are handed over a tenth of a second late: what is in the file is waited for.
        let deadline = ContinuousClock.now + .seconds(60)
        while try await packets(file, "http.response", "http.response.code").isEmpty, ContinuousClock.now < deadline {}
        trace.signal(SIGINT)
        #expect(try await trace.exit(within: .seconds(60)) == .exited(0), "\(trace.log.text)")
        #expect(trace.log.text.contains("you ended it"), "\(trace.log.text)")
        #expect(try await exchanges(file) == ["1", "2", "3", "5", "1", "2", "3", "5"])
        // The first four were kept, the others captured: these have their Ethernet headers.
        #expect(try await exchanges(file, and: "eth.addr == \(mac)").count >= 2)
        #expect(try await packets(file, "tftp.opcode == 1", "tftp.source_file") == ["undionly.kpxe"])
        #expect(try await packets(file, "http.request", "http.request.uri") == ["/ipxe?mac=\(mac)"])
        #expect(try await packets(file, "http.response", "http.response.code") == ["200"])
        // The loader itself is not in the file.
        let size = try #require(FileManager.default.attributesOfItem(atPath: file)[.size] as? Int)
        #expect(size < 100_000)
      }
      await appliance.stop()
    }
  }

  @Test(
    "says what is wrong, and leaves no file: no such node, no such place, a file that is there", .timeLimit(.minutes(5))
  )
  func refusals() async throws {
    try await Site.with { site in
      let appliance = try Appliance(site, state: site.directory + "/state")
      let file = site.directory + "/boot.pcapng"
      func trace(_ arguments: String...) async throws -> CommandResult {
        try await appliance.command(["node", "trace"] + arguments).run()
      }
      let stopped = try await trace("n0009", "-o", file)
      #expect(stopped.exitCode == 1 && stopped.errors.contains("Start it first"), "\(stopped.errors)")
      try await appliance.start()
      let nobody = try await trace("n0009", "-o", file)
      #expect(nobody.exitCode == 1 && nobody.errors.contains("no node 'n0009'"), "\(nobody.errors)")
      #expect(!FileManager.default.fileExists(atPath: file))
      try await appliance.run("node", "add", "52:54:00:00:00:09", "n0009")
      let nowhere = try await trace("n0009", "-o", site.directory + "/none/boot.pcapng")
      #expect(
        nowhere.exitCode == 1 && nowhere.errors.contains("none/boot.pcapng cannot be written"), "\(nowhere.errors)")
      #expect(try await trace("n0009", "--for", "0").exitCode == 2)
      try "mine".write(toFile: file, atomically: true, encoding: .utf8)
      let there = try await trace("n0009", "--kept", "-o", file)
      #expect(there.exitCode == 1 && there.errors.contains("exists. Replace it?"), "\(there.errors)")
      #expect(try String(contentsOfFile: file, encoding: .utf8) == "mine")
      #expect(try await trace("nobody", "--kept", "--yes", "-o", file).exitCode == 1)
      #expect(try String(contentsOfFile: file, encoding: .utf8) == "mine")
      #expect(try await trace("n0009", "--kept", "--yes", "-o", file).exitCode == 0)
      #expect(try await packets(file, "dhcp", "dhcp.option.dhcp").isEmpty)
      let ended = try await trace("n0009", "--for", "1", "--yes", "-o", file)
      #expect(ended.exitCode == 0 && ended.errors.contains("the time is over"), "\(ended.errors)")
      await appliance.stop()
    }
  }

  @Test("has a machine's whole boot, and ends when it is ready", .timeLimit(.minutes(40)))
  func boot() async throws {
    try await withTurns(1) {
      try await withAppliance { site, appliance in
        let configuration = Machine.Configuration(number: 1, firmware: .uefi)
        try await appliance.run("node", "add", "\(configuration.mac)", "n0001")
        let file = site.directory + "/boot.pcapng"
        let trace = try RunningProcess(appliance.command("node", "trace", "n0001", "-o", file, "--for", "1800"))
        _ = try await trace.log.line(containing: "waiting for its packets", within: .seconds(60))
        let machine = try await site.start(configuration)
        try await appliance.node(of: machine, reaches: "ready", within: bootBound)
        #expect(try await trace.exit(within: .seconds(60)) == .exited(0))
        #expect(trace.log.text.contains("n0001 is ready"), "\(trace.log.text)")
        let messages = try await exchanges(file)
        // Firmware, iPXE, stage 1.
        for type in ["1", "2", "3", "5"] { #expect(messages.count { $0 == type } >= 3, "\(messages)") }
        let files = try await packets(file, "tftp.opcode == 1", "tftp.source_file")
        #expect(files.contains { $0.contains("snponly.efi") }, "\(files)")
        let asked = try await packets(file, "http.request", "http.request.method", "http.request.uri")
        for words in ["GET\t/ipxe?mac=", "/kernel", "/initramfs", "GET\t/blobs/sha256/", "POST\t/v1/state"] {
          #expect(asked.contains { $0.contains(words) }, "\(words) is missing in \(asked)")
        }
        await machine.powerOff()
      }
    }
  }
}
