"""The first schema"""

# Written by alembic, a column a line.
# fmt: off
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None

# The transition tables of hpo/domain as they were at this revision.

STUDY_EDGES = """
CREATE FUNCTION study_edge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (OLD.state, NEW.state) NOT IN (
    ('created', 'cancelled'),
    ('created', 'running'),
    ('running', 'cancelled'),
    ('running', 'failed'),
    ('running', 'finished'),
    ('running', 'paused'),
    ('running', 'stopping'),
    ('paused', 'cancelled'),
    ('paused', 'running'),
    ('paused', 'stopping'),
    ('stopping', 'cancelled'),
    ('stopping', 'failed'),
    ('stopping', 'finished'),
    ('finished', 'running')) THEN
    RAISE EXCEPTION 'a study cannot go from % to %', OLD.state, NEW.state
      USING ERRCODE = 'check_violation', CONSTRAINT = 'study_edge';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER study_edge BEFORE UPDATE OF state ON study FOR EACH ROW
  WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION study_edge();
"""

TRIAL_EDGES = """
CREATE FUNCTION trial_edge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (OLD.state, NEW.state) NOT IN (
    ('queued', 'cancelled'),
    ('queued', 'pruned'),
    ('queued', 'running'),
    ('running', 'cancelled'),
    ('running', 'complete'),
    ('running', 'failed'),
    ('running', 'paused'),
    ('running', 'pruned'),
    ('running', 'queued'),
    ('paused', 'cancelled'),
    ('paused', 'pruned'),
    ('paused', 'queued')) THEN
    RAISE EXCEPTION 'a trial cannot go from % to %', OLD.state, NEW.state
      USING ERRCODE = 'check_violation', CONSTRAINT = 'trial_edge';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER trial_edge BEFORE UPDATE OF state ON trial FOR EACH ROW
  WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION trial_edge();
"""


def upgrade() -> None:
    op.create_table('attempt',
    sa.Column('trial_id', sa.BigInteger(), nullable=False),
    sa.Column('attempt', sa.Integer(), nullable=False),
    sa.Column('lease_id', sa.Uuid(), nullable=False),
    sa.Column('worker', sa.String(), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('end_class', sa.String(), nullable=True),
    sa.Column('start_step', sa.BigInteger(), nullable=False),
    sa.Column('end_step', sa.BigInteger(), nullable=True),
    sa.Column('setup_s', sa.DOUBLE_PRECISION(), nullable=True),
    sa.Column('device_seconds', sa.DOUBLE_PRECISION(), server_default='0', nullable=False),
    sa.Column('peak_memory_bytes', sa.BigInteger(), nullable=True),
    sa.Column('error', postgresql.JSONB(astext_type=sa.Text()), nullable=True),
    sa.CheckConstraint("end_class IS NULL OR end_class IN ('paused', 'complete', 'pruned', 'cancelled', 'drain', 'infra', 'oom', 'diverged', 'user_error', 'stalled', 'poison')", name=op.f('ck_attempt_end_class')),
    sa.CheckConstraint('(ended_at IS NULL) = (end_class IS NULL)', name=op.f('ck_attempt_ended')),
    sa.PrimaryKeyConstraint('trial_id', 'attempt', name=op.f('pk_attempt')),
    sa.UniqueConstraint('lease_id', name=op.f('uq_attempt_lease_id'))
    )
    op.create_table('audit_log',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('project_id', sa.Uuid(), nullable=False),
    sa.Column('api_key_id', sa.String(), nullable=False),
    sa.Column('action', sa.String(), nullable=False),
    sa.Column('object', sa.String(), nullable=False),
    sa.Column('request_id', sa.String(), nullable=True),
    sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_audit_log'))
    )
    op.create_table('event',
    sa.Column('study_id', sa.Uuid(), nullable=False),
    sa.Column('seq', sa.BigInteger(), nullable=False),
    sa.Column('type', sa.String(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=True),
    sa.Column('data', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
    sa.PrimaryKeyConstraint('study_id', 'seq', name=op.f('pk_event'))
    )
    op.create_table('idempotency_key',
    sa.Column('api_key_id', sa.String(), nullable=False),
    sa.Column('key', sa.String(), nullable=False),
    sa.Column('request_sha256', postgresql.BYTEA(), nullable=False),
    sa.Column('status', sa.Integer(), nullable=False),
    sa.Column('headers', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('body', sa.String(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
    sa.PrimaryKeyConstraint('api_key_id', 'key', name=op.f('pk_idempotency_key'))
    )
    op.create_index('ix_idempotency_key_created_at', 'idempotency_key', ['created_at'], unique=False)
    op.create_table('project',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_project')),
    sa.UniqueConstraint('name', name=op.f('uq_project_name'))
    )
    op.create_table('report',
    sa.Column('trial_id', sa.BigInteger(), nullable=False),
    sa.Column('step', sa.BigInteger(), nullable=False),
    sa.Column('lease_id', sa.Uuid(), nullable=False),
    sa.Column('attempt', sa.Integer(), nullable=False),
    sa.Column('loss', sa.DOUBLE_PRECISION(), nullable=True),
    sa.Column('metrics', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('seconds', sa.DOUBLE_PRECISION(), nullable=True),
    sa.Column('decision', sa.String(), nullable=True),
    sa.Column('target', sa.BigInteger(), nullable=True),
    sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
    sa.CheckConstraint("loss IS NULL OR (loss = loss AND abs(loss) < 'Infinity'::float8)", name=op.f('ck_report_loss')),
    sa.CheckConstraint('step >= 1', name=op.f('ck_report_step')),
    sa.PrimaryKeyConstraint('trial_id', 'step', name=op.f('pk_report'))
    )
    op.create_table('rung_entry',
    sa.Column('study_id', sa.Uuid(), nullable=False),
    sa.Column('bracket', sa.Integer(), nullable=False),
    sa.Column('rung', sa.Integer(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('loss', sa.DOUBLE_PRECISION(), nullable=False),
    sa.Column('seq', sa.BigInteger(), nullable=False),
    sa.Column('decision', sa.String(), nullable=False),
    sa.Column('waiting', sa.Boolean(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
    sa.CheckConstraint("decision IN ('continue', 'pause', 'stop', 'complete')", name=op.f('ck_rung_entry_decision')),
    sa.CheckConstraint("loss = loss AND abs(loss) < 'Infinity'::float8", name=op.f('ck_rung_entry_loss')),
    sa.PrimaryKeyConstraint('study_id', 'bracket', 'rung', 'number', name=op.f('pk_rung_entry')),
    sa.UniqueConstraint('study_id', 'bracket', 'rung', 'seq', name=op.f('uq_rung_entry_study_id_bracket_rung_seq')),
    postgresql_with={'fillfactor': 80}
    )
    op.create_index('ix_rung_entry_merit', 'rung_entry', ['study_id', 'bracket', 'rung', 'loss', 'seq'], unique=False)
    op.create_index('ix_rung_entry_waiting', 'rung_entry', ['study_id', 'bracket', 'rung', 'loss', 'seq'], unique=False, postgresql_where=sa.text('waiting'))
    op.create_table('api_key',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('project_id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('scope', sa.String(), nullable=False),
    sa.Column('secret_sha256', postgresql.BYTEA(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('last_used_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("scope IN ('admin', 'write', 'read', 'worker')", name=op.f('ck_api_key_scope')),
    sa.CheckConstraint('octet_length(secret_sha256) = 32', name=op.f('ck_api_key_secret_sha256')),
    sa.ForeignKeyConstraint(['project_id'], ['project.id'], name=op.f('fk_api_key_project_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_api_key'))
    )
    op.create_table('study',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('project_id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('state_reason', sa.String(), nullable=True),
    sa.Column('revision', sa.Integer(), server_default='1', nullable=False),
    sa.Column('spec', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('queue', sa.String(), nullable=False),
    sa.Column('priority', sa.Integer(), server_default='0', nullable=False),
    sa.Column('max_trials', sa.Integer(), nullable=False),
    sa.Column('max_running', sa.Integer(), nullable=False),
    sa.Column('max_failed', sa.Integer(), nullable=False),
    sa.Column('budget', sa.BigInteger(), nullable=True),
    sa.Column('spent', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('reserved', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('next_number', sa.Integer(), server_default='0', nullable=False),
    sa.Column('last_seq', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('queued', sa.Integer(), server_default='0', nullable=False),
    sa.Column('running', sa.Integer(), server_default='0', nullable=False),
    sa.Column('paused', sa.Integer(), server_default='0', nullable=False),
    sa.Column('complete', sa.Integer(), server_default='0', nullable=False),
    sa.Column('pruned', sa.Integer(), server_default='0', nullable=False),
    sa.Column('failed', sa.Integer(), server_default='0', nullable=False),
    sa.Column('cancelled', sa.Integer(), server_default='0', nullable=False),
    sa.Column('device_seconds', sa.DOUBLE_PRECISION(), server_default='0', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("state IN ('created', 'running', 'paused', 'stopping', 'finished', 'failed', 'cancelled')", name=op.f('ck_study_state')),
    sa.CheckConstraint('next_number BETWEEN 0 AND max_trials', name=op.f('ck_study_next_number')),
    sa.CheckConstraint('queued + running + paused + complete + pruned + failed + cancelled = next_number', name=op.f('ck_study_counts_add_up')),
    sa.CheckConstraint('queued >= 0 AND paused >= 0 AND complete >= 0 AND pruned >= 0', name=op.f('ck_study_counts')),
    sa.CheckConstraint('reserved >= 0 AND spent >= 0 AND (budget IS NULL OR spent + reserved <= budget)', name=op.f('ck_study_budget')),
    sa.CheckConstraint('running BETWEEN 0 AND max_running', name=op.f('ck_study_running')),
    sa.ForeignKeyConstraint(['project_id'], ['project.id'], name=op.f('fk_study_project_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_study')),
    sa.UniqueConstraint('project_id', 'name', name=op.f('uq_study_project_id_name')),
    postgresql_with={'fillfactor': 50}
    )
    op.create_index('ix_study_claimable', 'study', ['project_id', 'queue'], unique=False, postgresql_where=sa.text("state = 'running'"))
    op.create_index('ix_study_updated_at', 'study', ['project_id', 'updated_at', 'id'], unique=False)
    op.create_table('worker',
    sa.Column('project_id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('queue', sa.String(), nullable=False),
    sa.Column('host', sa.String(), nullable=False),
    sa.Column('device', sa.String(), nullable=False),
    sa.Column('pid', sa.Integer(), nullable=False),
    sa.Column('versions', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('drain', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
    sa.Column('seen_at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['project.id'], name=op.f('fk_worker_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'name', name=op.f('pk_worker'))
    )
    op.create_index('ix_worker_queue', 'worker', ['project_id', 'queue', 'seen_at'], unique=False)
    op.create_table('rung',
    sa.Column('study_id', sa.Uuid(), nullable=False),
    sa.Column('bracket', sa.Integer(), nullable=False),
    sa.Column('rung', sa.Integer(), nullable=False),
    sa.Column('resource', sa.BigInteger(), nullable=False),
    sa.Column('entries', sa.Integer(), server_default='0', nullable=False),
    sa.Column('waiting', sa.Integer(), server_default='0', nullable=False),
    sa.Column('promoted', sa.Integer(), server_default='0', nullable=False),
    sa.Column('finger_rank', sa.Integer(), server_default='0', nullable=False),
    sa.Column('finger_loss', sa.DOUBLE_PRECISION(), nullable=True),
    sa.Column('finger_seq', sa.BigInteger(), nullable=True),
    sa.CheckConstraint('(finger_rank = 0) = (finger_loss IS NULL)', name=op.f('ck_rung_finger')),
    sa.CheckConstraint('finger_rank BETWEEN 0 AND entries', name=op.f('ck_rung_finger_rank')),
    sa.CheckConstraint('waiting >= 0 AND promoted >= 0 AND waiting + promoted <= entries', name=op.f('ck_rung_waiting')),
    sa.ForeignKeyConstraint(['study_id'], ['study.id'], name=op.f('fk_rung_study_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('study_id', 'bracket', 'rung', name=op.f('pk_rung')),
    postgresql_with={'fillfactor': 50}
    )
    op.create_table('trial',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('project_id', sa.Uuid(), nullable=False),
    sa.Column('study_id', sa.Uuid(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('state', sa.String(), server_default='queued', nullable=False),
    sa.Column('params', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('cursor', sa.BigInteger(), nullable=False),
    sa.Column('bracket', sa.Integer(), server_default='0', nullable=False),
    sa.Column('rung', sa.Integer(), nullable=True),
    sa.Column('loss', sa.DOUBLE_PRECISION(), nullable=True),
    sa.Column('non_finite', sa.String(), nullable=True),
    sa.Column('last_step', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('target_step', sa.BigInteger(), nullable=False),
    sa.Column('attempt', sa.Integer(), server_default='0', nullable=False),
    sa.Column('lease_id', sa.Uuid(), nullable=True),
    sa.Column('claim_id', sa.Uuid(), nullable=True),
    sa.Column('worker', sa.String(), nullable=True),
    sa.Column('lease_expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('lease_ttl_s', sa.DOUBLE_PRECISION(), nullable=True),
    sa.Column('stop_requested', sa.String(), nullable=True),
    sa.Column('infra_failures', sa.Integer(), server_default='0', nullable=False),
    sa.Column('oom_failures', sa.Integer(), server_default='0', nullable=False),
    sa.Column('no_progress_attempts', sa.Integer(), server_default='0', nullable=False),
    sa.Column('promoted', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('not_before', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
    sa.Column('queued_at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
    sa.Column('hinted_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('error', postgresql.JSONB(astext_type=sa.Text()), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("(state = 'running') = (lease_id IS NOT NULL)", name=op.f('ck_trial_lease')),
    sa.CheckConstraint("loss IS NULL OR (loss = loss AND abs(loss) < 'Infinity'::float8)", name=op.f('ck_trial_loss')),
    sa.CheckConstraint("state IN ('queued', 'running', 'paused', 'complete', 'pruned', 'failed', 'cancelled')", name=op.f('ck_trial_state')),
    sa.CheckConstraint("stop_requested IS NULL OR stop_requested IN ('pause', 'stop', 'cancel')", name=op.f('ck_trial_stop_requested')),
    sa.CheckConstraint('(lease_id IS NULL) = (lease_expires_at IS NULL)', name=op.f('ck_trial_lease_expires_at')),
    sa.CheckConstraint('last_step BETWEEN 0 AND target_step', name=op.f('ck_trial_last_step')),
    sa.ForeignKeyConstraint(['study_id'], ['study.id'], name=op.f('fk_trial_study_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_trial')),
    sa.UniqueConstraint('claim_id', name=op.f('uq_trial_claim_id')),
    sa.UniqueConstraint('lease_id', name=op.f('uq_trial_lease_id')),
    sa.UniqueConstraint('study_id', 'number', name=op.f('uq_trial_study_id_number')),
    postgresql_with={'fillfactor': 70}
    )
    op.create_index('ix_trial_best', 'trial', ['study_id', 'loss', 'number'], unique=False, postgresql_where=sa.text('loss IS NOT NULL'))
    op.create_index('ix_trial_leases', 'trial', ['lease_expires_at'], unique=False, postgresql_where=sa.text("state = 'running'"))
    op.create_index('ix_trial_queued', 'trial', ['study_id', sa.literal_column('promoted DESC'), 'queued_at', 'id'], unique=False, postgresql_where=sa.text("state = 'queued'"))
    op.create_table('checkpoint',
    sa.Column('id', sa.Uuid(), server_default=sa.text('gen_random_uuid()'), nullable=False),
    sa.Column('trial_id', sa.BigInteger(), nullable=False),
    sa.Column('lease_id', sa.Uuid(), nullable=False),
    sa.Column('attempt', sa.Integer(), nullable=False),
    sa.Column('step', sa.BigInteger(), nullable=False),
    sa.Column('sha256', sa.String(), nullable=False),
    sa.Column('size_bytes', sa.BigInteger(), nullable=False),
    sa.Column('state', sa.String(), server_default='ok', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
    sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f('ck_checkpoint_sha256')),
    sa.CheckConstraint("state IN ('ok', 'corrupt', 'deleted')", name=op.f('ck_checkpoint_state')),
    sa.ForeignKeyConstraint(['trial_id'], ['trial.id'], name=op.f('fk_checkpoint_trial_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_checkpoint')),
    sa.UniqueConstraint('trial_id', 'lease_id', 'step', name=op.f('uq_checkpoint_trial_id_lease_id_step'))
    )
    op.execute(STUDY_EDGES)
    op.execute(TRIAL_EDGES)


def downgrade() -> None:
    op.drop_table('checkpoint')
    op.drop_index('ix_trial_queued', table_name='trial', postgresql_where=sa.text("state = 'queued'"))
    op.drop_index('ix_trial_leases', table_name='trial', postgresql_where=sa.text("state = 'running'"))
    op.drop_index('ix_trial_best', table_name='trial', postgresql_where=sa.text('loss IS NOT NULL'))
    op.drop_table('trial')
    op.drop_table('rung')
    op.drop_index('ix_worker_queue', table_name='worker')
    op.drop_table('worker')
    op.drop_index('ix_study_updated_at', table_name='study')
    op.drop_index('ix_study_claimable', table_name='study', postgresql_where=sa.text("state = 'running'"))
    op.drop_table('study')
    op.drop_table('api_key')
    op.drop_index('ix_rung_entry_waiting', table_name='rung_entry', postgresql_where=sa.text('waiting'))
    op.drop_index('ix_rung_entry_merit', table_name='rung_entry')
    op.drop_table('rung_entry')
    op.drop_table('report')
    op.drop_table('project')
    op.drop_index('ix_idempotency_key_created_at', table_name='idempotency_key')
    op.drop_table('idempotency_key')
    op.drop_table('event')
    op.drop_table('audit_log')
    op.drop_table('attempt')
    op.execute("DROP FUNCTION trial_edge()")
    op.execute("DROP FUNCTION study_edge()")
