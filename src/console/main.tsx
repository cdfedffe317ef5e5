// The web console of a fabric: a page that signs in at the local login and shows what its user may see. It holds no key,
// keeps nothing when it is closed, and speaks to the origin that it came from alone.
import { render } from 'preact';
import { useState } from 'preact/hooks';
import type { VNode } from 'preact';
import { Frame } from './frame.js';
import type { Session } from './session.js';
import { SignIn } from './sign-in.js';

function Console(): VNode {
  const [session, setSession] = useState<Session | undefined>(undefined);
  const [said, setSaid] = useState<string | undefined>(undefined);
  if (!session) {
    return (
      <SignIn
        said={said}
        signedIn={(made) => {
          setSaid(undefined);
          setSession(made);
        }}
      />
    );
  }
  return (
    <Frame
      session={session}
      leave={(why) => {
        setSaid(why);
        setSession(undefined);
      }}
    />
  );
}

const place = document.getElementById('console');
if (place) {
  place.replaceChildren();
  render(<Console />, place);
}
