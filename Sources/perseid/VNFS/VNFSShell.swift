import ArgumentParser
import Capsule
import Glibc
import Provisioner

/// `perseid vnfs shell NAME [-- COMMAND ...]`
struct VNFSShell: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "shell", abstract: "Run a shell, or a command, inside a mounted capsule's tree.",
    discussion: """
      With /proc, /sys, /dev and the appliance's name servers, so that package managers work. A capsule that is not \
      mounted is mounted before; then you are asked whether the changes are to be kept. With --yes they are.
      """)

  @Argument(help: "The capsule.", completion: Names.capsules)
  var capsule: String

  @Argument(parsing: .postTerminator, help: "The command, behind --; a shell where there is none.")
  var command: [String] = []

  @OptionGroup var common: CommonOptions

  func run() async throws {
    let work = try MountWork(capsule, common)
    let isNew = work.mounts.record(of: capsule) == nil
    if isNew {
      let target = try await work.mount(generation: nil)
      printError("\(target.words), is at \(work.path)")
    }
    let status = try await work.run(command)
    if isNew { try await end(work) }
    guard status == 0 else { throw ExitCode(status) }
  }

  /// What was mounted for the shell alone is not left behind without a word.
  private func end(_ work: MountWork) async throws {
    let how =
      "perseid vnfs umount \(capsule) makes a new generation of what was changed, perseid vnfs close \(capsule) "
      + "throws it away."
    guard common.yes || isatty(STDIN_FILENO) == 1 else { return printError("\(capsule) is still mounted: \(how)") }
    if !common.yes {
      write(to: STDERR_FILENO, "Make a new generation of what was changed? [y/N] ")
      guard let answer = readLine(), ["y", "yes"].contains(answer.lowercased()) else {
        return printError("\(capsule) is still mounted: \(how)")
      }
    }
    do {
      let view = try await work.umount()
      printError("\(view.name), generation \(view.generation), boots from now on.")
    } catch let error as ApplianceError where error.code == .refused {
      try await work.close()
      printError("Nothing was changed.")
    }
  }
}
