/// `perseid-node`, the client's command in the running node.
package enum ClientCommand {
  package static let version = "0.1.0"

  private static let usage = """
    usage: perseid-node [run]         report the node's state, follow the appliance's plans, keep the lease
           perseid-node state WORD    report a state once, and follow its plan
           perseid-node unpack ...    unpack a capsule's root file system, as stage 1 does
           perseid-node --version

    """

  /// - Returns: 0 done, 1 it failed, 2 wrong usage.
  package static func run(_ arguments: [String]) -> Int32 {
    do {
      switch arguments.first ?? "run" {
      case "run" where arguments.count <= 1:
        try NodeDaemon().run()
      case "state" where arguments.count == 2:
        try NodeDaemon().report(arguments[1])
      case "--version" where arguments.count == 1:
        print("perseid-node \(version)")
      case "--help", "-h", "help":
        print(usage, terminator: "")
      default:
        Journal.say("'\(arguments.joined(separator: " "))' is not understood\n\(usage)", .error)
        return 2
      }
      return 0
    } catch {
      Journal.say("\(error)", .error)
      return 1
    }
  }
}
