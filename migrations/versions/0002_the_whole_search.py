"""Several objectives, outcome constraints, populations, enqueued configurations, warm starts and contests"""

# fmt: off
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None

FLOATS: postgresql.ARRAY[float] = postgresql.ARRAY(sa.DOUBLE_PRECISION())


def upgrade() -> None:
    op.create_table(
        'contest',
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('project_id', sa.Uuid(), nullable=False),
        sa.Column('name', sa.String(), nullable=False),
        sa.Column('spec', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
        sa.ForeignKeyConstraint(['project_id'], ['project.id'], name=op.f('fk_contest_project_id')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_contest')),
        sa.UniqueConstraint('project_id', 'name', name=op.f('uq_contest_project_id_name')),
    )
    op.create_table(
        'enqueued',
        sa.Column('study_id', sa.Uuid(), nullable=False),
        sa.Column('position', sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column('params', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('clock_timestamp()'), nullable=False),
        sa.ForeignKeyConstraint(['study_id'], ['study.id'], name=op.f('fk_enqueued_study_id'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('study_id', 'position', name=op.f('pk_enqueued')),
    )
    op.add_column('study', sa.Column('best_merit', sa.DOUBLE_PRECISION(), nullable=True))
    op.add_column('study', sa.Column('since_best', sa.Integer(), server_default='0', nullable=False))
    op.add_column('study', sa.Column('earlier', postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column('study', sa.Column('contest_id', sa.Uuid(), nullable=True))
    op.create_index(op.f('ix_study_contest_id'), 'study', ['contest_id'])
    op.create_foreign_key(op.f('fk_study_contest_id'), 'study', 'contest', ['contest_id'], ['id'], ondelete='CASCADE')
    op.add_column('trial', sa.Column('vector', FLOATS, nullable=True))
    op.add_column('trial', sa.Column('violation', sa.DOUBLE_PRECISION(), server_default='0', nullable=False))
    op.add_column('trial', sa.Column('resume_from', sa.Uuid(), nullable=True))
    op.create_check_constraint(op.f('ck_trial_violation'), 'trial', 'violation >= 0')
    op.create_index('ix_trial_resume_from', 'trial', ['resume_from'], postgresql_where=sa.text('resume_from IS NOT NULL'))
    op.add_column('rung_entry', sa.Column('vector', FLOATS, nullable=True))


def downgrade() -> None:
    op.drop_column('rung_entry', 'vector')
    op.drop_index('ix_trial_resume_from', table_name='trial')
    op.drop_constraint(op.f('ck_trial_violation'), 'trial', type_='check')
    op.drop_column('trial', 'resume_from')
    op.drop_column('trial', 'violation')
    op.drop_column('trial', 'vector')
    op.drop_constraint(op.f('fk_study_contest_id'), 'study', type_='foreignkey')
    op.drop_index(op.f('ix_study_contest_id'), table_name='study')
    op.drop_column('study', 'contest_id')
    op.drop_column('study', 'earlier')
    op.drop_column('study', 'since_best')
    op.drop_column('study', 'best_merit')
    op.drop_table('enqueued')
    op.drop_table('contest')
