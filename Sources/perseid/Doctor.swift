import ArgumentParser
import Glibc
import NetworkTypes
import Provisioner

/// `perseid doctor`: looks at what the appliance needs, and says what is missing and what to do.
struct Doctor: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check what the appliance needs: configuration, interface, ports, other DHCP servers, packages, lock.")

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    let findings = await Examination(file: common.configurationFile).findings()
    if output.json {
      try show(JSONText.of(findings))
    } else {
      for finding in findings {
        try show((finding.ok ? "ok      " : "PROBLEM ") + "\(finding.check): \(finding.detail)\n")
      }
    }
    if findings.contains(where: { !$0.ok }) { throw ExitCode(1) }
  }
}

/// One check and how it went.
struct Finding: Encodable {
  var check: String
  var ok: Bool
  /// What was found; where it is a problem, with the remedy.
  var detail: String
}

private struct Examination {
  let file: String

  func findings() async -> [Finding] {
    let configuration: Configuration
    var findings: [Finding] = []
    do {
      configuration = try Configuration.load(path: file)
      findings.append(Finding(check: "configuration", ok: true, detail: file))
    } catch {
      return [Finding(check: "configuration", ok: false, detail: "\(error)")] + packages()
    }
    findings.append(interfaces(configuration))
    let served = (try? configuration.resolve()) ?? []
    let socket = configuration.paths.controlSocket
    let isRunning = await ControlSocketClient(path: socket).isAnswering()
    findings.append(lock(configuration, isRunning: isRunning))
    if isRunning {
      findings.append(Finding(check: "ports", ok: true, detail: "the running appliance has them"))
    } else {
      findings += ports(configuration)
    }
    findings += await DHCPExamination(configuration, isRunning: isRunning).findings(on: served)
    return findings + packages()
  }

  private func interfaces(_ configuration: Configuration) -> Finding {
    check("interface") {
      try configuration.resolve().map { "\($0.name) has \($0.address) in \($0.subnet)" }.joined(separator: ", ")
    }
  }

  private func lock(_ configuration: Configuration, isRunning: Bool) -> Finding {
    if isRunning { return Finding(check: "lock", ok: true, detail: "the appliance is running") }
    guard access(configuration.paths.state, F_OK) == 0 else {
      return Finding(check: "lock", ok: true, detail: "\(configuration.paths.state) is not there yet; serve makes it")
    }
    return check("lock") {
      _ = try StateLock(path: configuration.paths.lock, purpose: "perseid doctor")
      return "\(configuration.paths.lock) is free: no appliance is running"
    }
  }

  private func ports(_ configuration: Configuration) -> [Finding] {
    var wanted: [(what: String, port: Int, type: __socket_type, key: String)] = [
      ("TFTP", configuration.tftp.port, SOCK_DGRAM, "tftp.port"),
      ("the nodes' HTTP", configuration.provisioner.port, SOCK_STREAM, "provisioner.port"),
    ]
    if configuration.dhcp.mode == .authoritative { wanted.append(("DHCP", 67, SOCK_DGRAM, "dhcp.mode: off")) }
    return wanted.map { what, port, type, key in
      let isUDP = type == SOCK_DGRAM
      let name = "\(isUDP ? "UDP" : "TCP") port \(port) for \(what)"
      switch Self.tryBind(port, type) {
      case 0:
        return Finding(check: name, ok: true, detail: "free")
      case EADDRINUSE:
        return Finding(
          check: name, ok: false,
          detail: "another program has it: `ss -l\(isUDP ? "u" : "t")np 'sport = :\(port)'` names it. "
            + "Stop that, or set \(key).")
      case EACCES:
        return Finding(
          check: name, ok: false, detail: "not permitted: run as root, or with CAP_NET_BIND_SERVICE and CAP_NET_RAW.")
      case let number:
        return Finding(check: name, ok: false, detail: String(cString: strerror(number)))
      }
    }
  }

  /// - Returns: 0 where the port can be had, else the error's number.
  private static func tryBind(_ port: Int, _ type: __socket_type) -> Int32 {
    let descriptor = socket(AF_INET, Int32(type.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return errno }
    defer { close(descriptor) }
    if type == SOCK_STREAM {
      var one: Int32 = 1
      setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
    }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(truncatingIfNeeded: port).bigEndian
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    return result == 0 ? 0 : errno
  }

  private func packages() -> [Finding] {
    [
      check("boot loaders") {
        try LoaderFiles().check()
        return "iPXE's are there"
      },
      alternative(.grub), alternative(.pxelinux),
      check("busybox") { try Companions.busybox() },
      check("perseid-node") { try Companions.nodeExecutable() },
    ]
  }

  /// The loaders of a chain that is used where it is set: nothing is wrong without them.
  private func alternative(_ method: BootMethod) -> Finding {
    let name = "boot loaders for boot: \(method.rawValue)"
    do {
      try LoaderFiles().check(method)
      return Finding(check: name, ok: true, detail: "they are there")
    } catch {
      return Finding(check: name, ok: true, detail: "needed only where that is set: \(error)")
    }
  }

  private func check(_ name: String, _ body: () throws -> String) -> Finding {
    do {
      return Finding(check: name, ok: true, detail: try body())
    } catch {
      return Finding(check: name, ok: false, detail: "\(error)")
    }
  }
}
