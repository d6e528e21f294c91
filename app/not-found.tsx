/** @file An address that leads nowhere, said in the house. */
import { Link } from "./parts/link.tsx";
import { TopBar } from "./parts/shell.tsx";
import { Empty } from "./parts/states.tsx";

export default function NotFound() {
  return (
    <>
      <TopBar title="Not found" />
      <div className="region">
        <Empty
          title="There is no page at this address"
          action={
            <Link className="button" href="/">
              Home
            </Link>
          }
        >
          It may have been mistyped, or what it showed is gone. Search finds runs, models and packages by name.
        </Empty>
      </div>
    </>
  );
}
