import ArgumentParser
import FoundationEssentials
import Glibc
import Provisioner

/// `perseid init`: writes a first configuration after looking at the machine's interfaces.
struct Init: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init", abstract: "Write a first configuration for this machine.",
    discussion: """
      The nodes' network is that of the only interface with an address that leads nowhere else; --interface says \
      otherwise. A configuration that is there already is left as it is.
      """)

  @Option(name: .long, help: "The interface the nodes are on.")
  var interface: String?

  @OptionGroup var common: CommonOptions

  func run() async throws {
    let path = common.configurationFile
    guard access(path, F_OK) != 0 else {
      throw ApplianceError(
        .refused, "\(path) is there already, and stays as it is. Change it, or name another file with --config.")
    }
    let routes = (try? String(contentsOfFile: "/proc/net/route", encoding: .utf8)) ?? ""
    let found = try FirstConfiguration.interface(
      interface, of: SystemInterface.all(), outward: FirstConfiguration.outward(routes))
    let text = FirstConfiguration.text(found)
    // What is written can be read.
    _ = try Configuration.parse(yaml: text, file: path)
    try Self.write(text, to: path)
    try show(
      "\(path) is written: nodes are on \(found.name). Look it over, then: perseid doctor, and perseid serve.\n")
  }

  private static func write(_ text: String, to path: String) throws {
    let directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
    do {
      if !directory.isEmpty {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
      }
    } catch {
      throw ApplianceError(
        .failed,
        "The directory \(directory) cannot be made: \(error). Run as root, or name a file elsewhere with --config.")
    }
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      throw ApplianceError(
        .failed,
        "\(path) cannot be written: \(String(cString: strerror(errno))). Run as root, or name another file with "
          + "--config.")
    }
    defer { close(descriptor) }
    perseid.write(to: descriptor, text)
  }
}
